"""What a watcher misses, and what it does not: silent tiers, frames that stop coming, fleets that never close."""

from collections.abc import Sequence

import pytest

from consumers.watch.feed import Feed
from consumers.watch.pulse import FIRST_S, GATEWAY_MOST_S, SILENT_S, Pulse
from edgewise import split
from edgewise.account import Closing, Opening
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.kafka import Record
from edgewise.messages import Tier
from tests.watching import RUN, START_NS, closing, entry, feed, frame, plan, record, rejection, result

GATEWAY, CLUSTER = Tier.GATEWAY, Tier.CLUSTER
SEED = 1
"""Of the plan, and so of a comparison's split."""
LATER = plan(frames=400, start_ns=START_NS + 3600 * SECOND_NS)
"""No frame is due yet: whatever comes is more than is missed."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_ns=START_NS)


def passes(source: Feed, clock: ManualClock, *, for_s: float, records: Sequence[Record] = ()) -> list[str]:
    """Let time pass, in which Kafka is read; give what is said to be wrong then."""
    source.add(records)
    for _ in range(round(for_s * 10)):
        clock.advance(by_ns=SECOND_NS // 10)
        source.add([])
    return list(source.look().notices)


def both(camera: str, number: int) -> list[Record]:
    return [result(camera, number, tier) for tier in Tier]


# --- silent tiers ---------------------------------------------------------------------------------


def test_a_tier_is_silent_when_frames_wait_and_nothing_comes(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0), result("camera-0", 0, GATEWAY)], planned=LATER)
    assert passes(source, clock, for_s=60) == [], "slow cameras make no silent tier"
    source.add([frame("camera-0", number) for number in range(1, 5)])
    assert source.look().notices == []
    assert passes(source, clock, for_s=4) == ["No results from the gateway for 64 s; 4 frames wait for it."]
    ((tile, _),) = source.wall(order="name", first=0, count=1)
    # The picture goes on without the tier that is gone.
    assert (tile.number, tile.answers[0].mark) == (4, "silent")
    source.add([result("camera-0", 4, GATEWAY)])
    assert source.look().notices == []


def test_a_tier_whose_batches_are_long_is_missed_later_and_one_that_was_killed_all_the_same(clock: ManualClock) -> None:
    source = feed(clock, records=both("camera-0", 0), planned=LATER)
    for number in range(1, 41):  # a micro-batch takes ten seconds
        said = passes(source, clock, for_s=1, records=[frame("camera-0", number), result("camera-0", number, GATEWAY)])
        assert said == [] or number <= 10, "the first one is as yet unusual"
        if number % 10 == 0:
            source.add([result("camera-0", answered, CLUSTER) for answered in range(number - 9, number + 1)])
    number = 41
    source.add([frame("camera-0", number), result("camera-0", number, GATEWAY)])
    assert passes(source, clock, for_s=15) == []
    assert passes(source, clock, for_s=10) == ["No results from the cluster for 25 s; 1 frame waits for it."]


def test_a_gateway_is_missed_soon_whatever_it_did_before() -> None:
    pulse, now_ns = Pulse(GATEWAY, began_ns=0), 0
    for _ in range(20):
        now_ns += 3 * SECOND_NS
        pulse.beat(now_ns=now_ns)
    assert pulse.allowed_s(now_ns=now_ns) == GATEWAY_MOST_S
    # A minute later that is forgotten.
    now_ns += 60 * SECOND_NS
    pulse.rest(now_ns=now_ns)
    pulse.beat(now_ns=now_ns)
    assert pulse.allowed_s(now_ns=now_ns) == SILENT_S


def test_a_cluster_that_begins_cold_is_given_time(clock: ManualClock) -> None:
    source = feed(clock, planned=LATER)
    source.add_plans([entry(Opening(run=RUN, part="cluster", name="cluster", ready_ns=1, facts={}))])
    assert passes(source, clock, for_s=FIRST_S - 1, records=[frame("camera-0", n) for n in range(9)]) == []
    (said,) = passes(source, clock, for_s=2)
    assert said.startswith("No results from the cluster yet; ")


def test_a_watcher_that_could_not_read_calls_nobody_silent(clock: ManualClock) -> None:
    records = [frame("camera-0", 0), frame("camera-0", 1), result("camera-0", 0, GATEWAY)]
    source = feed(clock, records=records, planned=LATER)
    clock.advance(by_ns=12 * SECOND_NS)
    assert source.look().notices == ["Nothing was read from Kafka for 12 s: what is shown here is as old."]
    source.add([result("camera-0", 1, GATEWAY)])
    assert source.look().notices == []


def test_what_a_tier_rejected_does_not_wait_for_it(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0), frame("camera-0", 1), result("camera-0", 0, GATEWAY)])
    assert source.look().tiers[0].waiting == 1
    source.add([rejection("camera-0", 1, GATEWAY, damaged=True)])
    assert (source.look().tiers[0].waiting, source.look().tiers[0].rejected) == (0, 1)
    source.add([rejection("camera-0", 3, GATEWAY)])  # over MQTT it was there before Kafka had it
    source.add([frame("camera-0", 2), frame("camera-0", 3)])
    assert source.look().tiers[0].waiting == 0


# --- whose frames they are -------------------------------------------------------------------------


def shared(camera: str, numbers: range, *, seed: int = SEED) -> list[Record]:
    """Give answers of tiers that share the frames out."""
    return [result(camera, number, split.owner(camera, number, seed=seed)) for number in numbers]


def test_where_tiers_share_the_frames_out_nobody_waits_for_the_others(clock: ManualClock) -> None:
    source = feed(clock, planned=LATER)
    source.add([frame(f"camera-{camera}", number) for number in range(25) for camera in range(4)])
    source.add([answer for camera in range(4) for answer in shared(f"camera-{camera}", range(25))])
    look = source.look()
    assert [tier.waiting for tier in look.tiers] == [0, 0]
    assert sum(tier.results for tier in look.tiers) == 100
    assert passes(source, clock, for_s=30) == []
    assert "The tiers share the frames out: each frame is one tier's alone." in look.remarks
    # Each tile shows whose frame it is.
    for tile, _ in source.wall(order="name", first=0, count=4):
        assert sorted(answer.mark for answer in tile.answers) == ["elsewhere", "right"]
    # One of them dies: its own frames alone are said to wait.
    later = range(25, 45)
    source.add([frame("camera-0", number) for number in later])
    owners = {number: split.owner("camera-0", number, seed=SEED) for number in later}
    source.add([result("camera-0", number, CLUSTER) for number, owner in owners.items() if owner is CLUSTER])
    mine = list(owners.values()).count(GATEWAY)
    assert passes(source, clock, for_s=4) == [f"No results from the gateway for 34 s; {mine} frames wait for it."]


def test_another_seed_can_be_named(clock: ManualClock) -> None:
    source = feed(clock, planned=LATER, split=7)
    source.add([frame("camera-0", number) for number in range(40)])
    source.add(shared("camera-0", range(40), seed=7))
    assert [tier.waiting for tier in source.look().tiers] == [0, 0]
    assert source.look().remarks == ["The tiers share the frames out: each frame is one tier's alone."]


def test_without_that_seed_each_frame_is_each_tier_s_and_it_is_asked_for(clock: ManualClock) -> None:
    source = feed(clock, planned=LATER)
    source.add([frame("camera-0", number) for number in range(300)])
    source.add(shared("camera-0", range(300), seed=7))
    (remark,) = source.look().remarks
    assert remark.startswith("No frame was answered by both tiers. If they share the frames out (--split SEED)")


def test_an_answer_to_a_frame_of_the_other_s_shows_that_nothing_is_shared_out(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", number) for number in range(9)])
    source.add([result("camera-0", number, GATEWAY) for number in range(4)])
    assert source.look().tiers[0].waiting == 5
    source.add([result("camera-0", 0, CLUSTER)])
    assert source.look().tiers[1].waiting == 8


# --- numbers that cannot be ------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2**40, 100])
def test_a_number_that_no_camera_was_going_to_send_waits_for_nobody(clock: ManualClock, number: int) -> None:
    source = feed(clock, records=[frame("camera-0", 0), *both("camera-0", 0)])
    source.add([frame("camera-0", number), *both("camera-0", number), rejection("camera-0", number, GATEWAY)])
    look = source.look()
    assert ([tier.waiting for tier in look.tiers], look.stages[3].frames) == ([0, 0], 1)
    source.add([frame("camera-0", 1)])
    assert [tier.waiting for tier in source.look().tiers] == [1, 1]


def test_a_number_that_leaps_is_believed_only_in_a_frame_that_is_whole(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0), *both("camera-0", 0)])
    leaps = frame("camera-0", 60).value
    source.add([record("frames", "camera-0", leaps[:-2] + b"??")])
    assert [tier.waiting for tier in source.look().tiers] == [0, 0]
    source.add([record("frames", "camera-0", leaps)])  # the camera dropped those between
    assert [tier.waiting for tier in source.look().tiers] == [60, 60]


def test_a_camera_that_no_fleet_has_is_not_shown(clock: ManualClock) -> None:
    names = ("camera-4", "camera-00", "camera", "door-0", "camera--1", "camera-x")
    source = feed(clock, records=[found for name in names for found in (frame(name, 0), result(name, 0, GATEWAY))])
    assert (source.look().names, source.look().stages[3].frames) == ([], 0)


# --- frames that stop coming -----------------------------------------------------------------------


def test_frames_that_stop_coming_are_missed_and_the_end_of_a_plan_is_none(clock: ManualClock) -> None:
    source = feed(clock, planned=plan(frames=300))
    early = [found for number in range(50) for found in (frame("camera-0", number), *both("camera-0", number))]
    assert passes(source, clock, for_s=4, records=early) == []
    (said,) = passes(source, clock, for_s=4)
    assert said == "No frame came to Kafka for 8 s, though more are due; look at fleet and bridge."
    assert passes(source, clock, for_s=1, records=[frame("camera-0", 50), *both("camera-0", 50)]) == []
    # A gateway gets its frames from MQTT: where it still does, the bridge is what stands still.
    for number in range(51, 70):
        passes(source, clock, for_s=0.5, records=[result("camera-0", number, GATEWAY)])
    (said,) = source.look().notices
    assert said.endswith("the gateway still gets them from MQTT: look at the bridge.")
    # All frames were due: nothing more is to come.
    last = [found for number in range(70, 300) for found in (frame("camera-0", number), *both("camera-0", number))]
    passes(source, clock, for_s=20, records=last)
    source.add([frame("camera-1", 299), *both("camera-1", 299)])
    assert passes(source, clock, for_s=20) == []


def test_a_run_that_has_not_begun_is_not_missed_and_one_that_never_begins_is(clock: ManualClock) -> None:
    source = feed(clock, planned=plan(start_ns=START_NS + 20 * SECOND_NS))
    assert passes(source, clock, for_s=22) == []
    (said,) = passes(source, clock, for_s=6)
    assert said == "No frame came to Kafka for 28 s, though more are due; look at fleet and bridge."


def test_a_fleet_that_was_killed_is_told_when_it_ought_to_have_ended(clock: ManualClock) -> None:
    source = feed(clock, planned=plan(cameras=1))  # ten seconds of frames
    source.add([found for number in range(100) for found in (frame("camera-0", number), *both("camera-0", number))])
    assert passes(source, clock, for_s=60) == []
    (said,) = passes(source, clock, for_s=15)
    assert said == "The fleet 'camera' should have ended by its plan and has not accounted for itself: was it killed?"
    source.add_plans([closing()])
    assert source.look().notices == []


def test_parts_that_have_ended_as_they_should_are_not_missed(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0), frame("camera-0", 1), *both("camera-0", 0)])
    source.add_plans([closing()])
    for part in ("gateway", "cluster"):
        source.add_plans([entry(Closing(run=RUN, part=part, name=part, summary={}))])
    assert passes(source, clock, for_s=30) == []
