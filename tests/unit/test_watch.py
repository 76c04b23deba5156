"""What a watcher makes of what it reads: counts, pairs, quantiles, and memory that does not grow."""

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from consumers.watch import cameras as kept
from consumers.watch import terminal, verdict
from consumers.watch.cameras import Cameras, Given
from consumers.watch.feed import Truth
from consumers.watch.look import Picture
from consumers.watch.model import POINTS, RESULTS_MOST_HZ, Model
from consumers.watch.runs import RUNS_MOST, Runs
from consumers.watch.window import WINDOW_MOST, Window
from edgewise.account import Closing, Opening, Plan
from edgewise.arrivals import packed
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import MissingError
from edgewise.messages import Tier
from edgewise.peek import Peek
from tests.unit.test_report import TWO
from tests.watching import RUN, START_NS, closing, entry, feed, frame, labels, plan, record, result

GATEWAY, CLUSTER = Tier.GATEWAY, Tier.CLUSTER


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_ns=START_NS)


def model(planned: Plan | None = None) -> Model:
    runs = Runs()
    runs.add(entry(planned or plan()))
    return Model(RUN, told=runs.told(RUN), labels=Truth(labels), began_ns=0)


# --- whose message it is --------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 63, 64, 8191, 8192, 9_999_999])
@pytest.mark.parametrize("camera", ["c", "x" * 63, "x" * 64])
def test_a_message_s_camera_and_number_are_read_without_decoding_it(camera: str, number: int) -> None:
    peek = Peek(RUN)
    assert peek.frame(frame(camera, number).value) == (camera, number)
    assert peek.result(result(camera, number, GATEWAY).value) == (camera, number)


def test_messages_of_other_runs_other_kinds_and_damaged_ones_are_nobody_s() -> None:
    peek, whole = Peek(RUN), frame("c", 1).value
    assert peek.frame(frame("c", 1, run=f"{RUN}2").value) is None
    assert peek.frame(frame("c", 1, run=RUN[:-1]).value) is None
    assert peek.frame(result("c", 1, GATEWAY).value) is None
    assert peek.result(whole) is None
    assert all(peek.frame(whole[:length]) in {None, ("c", 1)} for length in range(40))
    assert peek.frame(whole[:19] + b"\xff" * 30) is None


# --- counts and pairs -----------------------------------------------------------------------------


def test_each_answer_counts_once_and_pairs_are_of_the_same_frame() -> None:
    seen = model()
    seen.add([frame("camera-0", number) for number in range(6)], now_ns=1)
    seen.add([result("camera-0", number, GATEWAY) for number in (0, 1, 2, 2, 1)], now_ns=2)
    seen.add([result("camera-0", 1, CLUSTER), result("camera-0", 2, CLUSTER, label=9)], now_ns=3)
    seen.add([result("camera-0", 5, CLUSTER, run="another")], now_ns=3)
    gateway, cluster = seen.tiers[GATEWAY], seen.tiers[CLUSTER]
    assert (seen.frames, gateway.results, cluster.results) == (6, 3, 2)
    assert (gateway.right, gateway.judged, cluster.right, cluster.judged) == (3, 3, 1, 2)
    assert (seen.pairs, seen.same) == (2, 1)
    assert seen.cameras.waiting == {GATEWAY: 3, CLUSTER: 3}


def test_what_cannot_be_decoded_is_no_result_and_what_was_rejected_is_counted() -> None:
    seen = model()
    cut = record("results", "camera-0", result("camera-0", 0, GATEWAY).value[:-3])
    rejected = record("frames-rejected", "camera-0", b"x")
    by_gateway = type(rejected)("frames-rejected", 0, 0, "", b"x", (("by", b"gateway"),), START_NS)
    before = type(rejected)("frames-rejected", 0, 0, "", b"x", (("by", b"gateway"),), START_NS - 2 * SECOND_NS)
    seen.add([cut, rejected, by_gateway, before], now_ns=1)
    assert (seen.tiers[GATEWAY].results, seen.tiers[GATEWAY].rejected) == (0, 1)


def test_quantiles_are_of_the_last_seconds_and_only_of_enough() -> None:
    window = Window()
    for number in range(WINDOW_MOST + 500):  # the ring goes round
        window.add(1000.0, now_ns=number)
    later_ns = 60 * SECOND_NS
    assert window.percentiles(now_ns=later_ns) == (None, None)
    for found_ms in range(1, 101):
        window.add(float(found_ms), now_ns=later_ns)
    assert window.percentiles(now_ns=later_ns) == (50.0, None)
    for found_ms in range(900):
        window.add(float(found_ms % 100 + 1), now_ns=later_ns)
    assert window.percentiles(now_ns=later_ns) == (50.0, 99.0)


def test_without_the_data_set_right_and_wrong_are_not_guessed(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(_: str) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        raise MissingError("CIFAR-10 could not be fetched")

    truth = Truth(absent)
    found = result("camera-0", 3, GATEWAY)
    assert truth("cifar10", "test") is truth("another", "test") is None
    source = feed(clock, records=[frame("camera-0", 3), found], truth=truth)
    ((tile, _),) = source.wall(order="name", first=0, count=9)
    assert [answer.mark for answer in tile.answers] == ["unjudged"]
    assert any("cannot be told" in remark for remark in source.look().remarks)
    assert "CIFAR-10 could not be fetched" in capsys.readouterr().err


def test_pictures_are_judged_by_the_classes_that_their_plan_carries(clock: ManualClock) -> None:
    classes = packed(np.full(plan().images, 7, dtype=np.int64))
    told = plan(run="own", start_ns=START_NS + SECOND_NS).model_copy(update={"dataset": "pictures", "labels": classes})
    source = feed(clock, run="own")
    source.add_plans([entry(told)])
    source.add([result("camera-0", 3, GATEWAY, label=7, run="own"), result("camera-0", 7, GATEWAY, label=3, run="own")])
    (tier,) = source.look().tiers
    assert (tier.right, tier.judged) == (1, 2)


# --- memory ---------------------------------------------------------------------------------------


def test_frames_and_answers_of_all_cameras_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FRAMES_MOST", 40)
    monkeypatch.setattr(kept, "ANSWERS_MOST", 200)
    seen = model(plan(frames=300))
    for number in range(300):
        for camera in range(4):
            name = f"camera-{camera}"
            seen.add([frame(name, number), result(name, number, GATEWAY)], now_ns=number)
    assert [len(camera.frames) for camera in seen.cameras] == [10] * 4
    assert [len(camera.sides[GATEWAY].given) for camera in seen.cameras] == [50] * 4
    assert [next(iter(camera.frames)) for camera in seen.cameras] == [290] * 4
    for second in range(POINTS + 20):
        seen.close_second(now_ns=second * SECOND_NS, lasted_s=1.0)
    assert len(seen.points) == POINTS


def test_memory_is_bounded_too_while_cameras_join_and_others_have_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FRAMES_MOST", 4000)
    monkeypatch.setattr(kept, "ANSWERS_MOST", 6000)
    every = Cameras(seed=None)
    for index in range(2000):  # each sends all that it ever sends before the next one joins
        camera = every.get(f"camera-{index}", number=0)
        assert camera is not None
        for number in range(70):
            every.keep_frame(camera, number, b"wire")
            every.keep_answer(camera, GATEWAY, number, Given(1, 1, 1.0), now_ns=1)
        if index % 100 == 0:
            assert sum(len(one.frames) for one in every) <= 4000
            assert sum(len(one.sides[GATEWAY].given) for one in every) <= 6000
    # The first to come has a picture as well as the last.
    assert {len(one.frames) for one in every} == {2}
    assert {len(one.sides[GATEWAY].given) for one in every} == {3}


def test_cameras_beyond_the_most_and_large_frames_are_not_kept_and_it_is_said(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "CAMERAS_MOST", 2)
    large = frame("camera-1", 0, payload=bytes(kept.FRAME_MOST_BYTES))
    source = feed(clock, records=[frame("camera-0", 0), large, frame("camera-2", 0), result("camera-3", 0, GATEWAY)])
    look = source.look()
    assert (len(look.names), look.stages[3].frames) == (2, 3)
    assert "Only the first 2 cameras are shown." in look.remarks
    assert "Frames of more than 16,384 bytes or 307,200 pixels are counted and not shown." in look.remarks
    assert [picture is None for _, picture in source.wall(order="name", first=0, count=9)] == [False, True]


def test_of_frames_that_are_too_large_to_be_kept_the_answers_are_shown(clock: ManualClock) -> None:
    large = bytes(kept.FRAME_MOST_BYTES)
    source = feed(clock, records=[frame("camera-0", number, payload=large) for number in range(5)])
    source.add([result("camera-0", number, GATEWAY) for number in range(5)])
    source.add([result("camera-0", number, CLUSTER, label=9) for number in range(3)])
    ((tile, picture),) = source.wall(order="name", first=0, count=1)
    assert (tile.number, tile.truth, picture) == (2, "bird", None)
    assert [answer.mark for answer in tile.answers] == ["right", "wrong"]


def test_what_others_write_gives_the_terminal_no_commands(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-\x1b[2J", 0), frame("camera-0", 0)])
    source.add_plans([entry(plan(run="evil\x1b[2J", start_ns=START_NS + SECOND_NS))])
    console = Console(width=110, color_system=None)
    with console.capture() as captured:
        console.print(terminal.rendered(source.look()))
    assert "\x1b" not in captured.get()
    assert "evil\\x1b[2J" in captured.get()
    source.add([frame("camera-\x1b[2J", 0, run="evil\x1b[2J")])
    assert source.look().names == []


def test_cameras_stand_in_the_order_of_their_numbers() -> None:
    every = Cameras(seed=None)
    for name in ("camera-10", "camera-2", "door", "camera-1"):
        every.get(name, number=0)
    assert [camera.name for camera in every] == ["camera-1", "camera-2", "camera-10", "door"]


# --- sampling -------------------------------------------------------------------------------------


def test_above_the_stated_rate_one_frame_in_so_many_counts_for_all_and_it_is_said(clock: ManualClock) -> None:
    source = feed(clock, planned=plan(cameras=10))
    source.add([result("camera-0", 0, GATEWAY)] * (RESULTS_MOST_HZ * 3 - 100))
    source.end_second(passed=0)
    few = [result(f"camera-{number % 10}", number // 10, GATEWAY) for number in range(10, 200)]
    source.add(few)
    gateway = source.look().tiers[0]
    # Of the numbers 1 to 19 of each camera 6 are divisible by three: 60 looked into stand for 180, beside the first.
    assert (gateway.results, gateway.judged) == (181, 61)
    (remark,) = source.look().remarks
    assert remark.startswith(f"More than {RESULTS_MOST_HZ:,} results a second: the results of one frame in 3 ")
    # Pairs survive, as both tiers are asked for the same frames.
    source.add([result("camera-0", number, CLUSTER) for number in range(20)])
    assert source.look().paired.frames == 7


def test_frames_that_were_passed_over_are_counted_and_it_is_said(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0)])
    source.end_second(passed=500)
    look = source.look()
    assert look.stages[3].frames == 501
    assert look.remarks[0].startswith("500 frames in Kafka were counted and not read")


def test_of_two_runs_at_once_each_has_its_share_of_what_was_passed_over(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", 0), *(frame("camera-0", n, run="another") for n in range(3))])
    source.end_second(passed=400)
    assert source.look().stages[3].frames == 101
    source.add([frame("camera-0", 0, run="another")])
    source.end_second(passed=400)
    assert source.look().stages[3].frames == 101, "of another second's"


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_tile_shows_one_frame_and_what_both_tiers_say_of_that_very_one(clock: ManualClock) -> None:
    source = feed(clock, records=[frame("camera-0", number) for number in range(5)])
    source.add([result("camera-0", number, GATEWAY) for number in range(5)])
    source.add([result("camera-0", number, CLUSTER, label=9) for number in range(3)])
    ((tile, picture),) = source.wall(order="name", first=0, count=1)
    assert (tile.number, tile.truth) == (2, "bird")
    assert [(answer.mark, answer.label) for answer in tile.answers] == [("right", "bird"), ("wrong", "truck")]
    assert picture == Picture(bytes([2]) * 3072, 32, 32)
    assert source.look().marks == {"gateway": "r", "cluster": "w"}


@pytest.mark.parametrize(("order", "first"), [("name", "camera-0"), ("slowest", "camera-1"), ("wrong", "camera-2")])
def test_the_wall_s_orders(clock: ManualClock, order: str, first: str) -> None:
    source = feed(clock)
    source.add([result("camera-0", 1, GATEWAY), result("camera-1", 1, GATEWAY, late_ms=900)])
    source.add([result("camera-2", 1, GATEWAY, label=2)])
    assert source.wall(order=order, first=0, count=1)[0][0].camera == first  # type: ignore[arg-type]
    assert source.look().worst[0].camera == "camera-1"


# --- which run, and its end -----------------------------------------------------------------------


def test_the_newest_run_is_followed_unless_one_was_named(clock: ManualClock) -> None:
    newer = entry(plan(run="newer", start_ns=START_NS + SECOND_NS))
    follows, stays = feed(clock), feed(clock, run=RUN)
    for source in (follows, stays):
        source.add([frame("camera-0", 0, run="newer")])
        source.add_plans([newer])
    assert (follows.look().run, stays.look().run) == ("newer", RUN)
    assert follows.look().stages[3].frames == 1, "its first frame was here before its plan"
    assert stays.look().stages[3].frames == 0


def test_a_run_that_nobody_planned_is_waited_for(clock: ManualClock) -> None:
    look = feed(clock, run="later").look()
    assert (look.state, look.about) == ("waiting", "Waiting for the plan of run later.")


def test_parts_that_closed_are_not_missed() -> None:
    runs = Runs()
    runs.add(entry(plan()))
    told = runs.told(RUN)
    assert (told.has_open("cluster"), told.has_closed("cluster")) == (False, False)
    runs.add(entry(Opening(run=RUN, part="cluster", name="cluster", ready_ns=1, facts={})))
    assert (told.has_open("cluster"), told.has_closed("cluster")) == (True, False)
    runs.add(entry(Closing(run=RUN, part="cluster", name="cluster", summary={})))
    assert (told.has_open("cluster"), told.has_closed("cluster")) == (False, True)


def test_the_verdict_is_the_ledger_s_from_the_run_s_folder(clock: ManualClock, tmp_path: Path) -> None:
    source = feed(clock, runs=tmp_path)
    folder = tmp_path / RUN
    folder.mkdir()
    source.end_second(passed=0)
    assert source.look().state == "running"
    source.add_plans([closing()])
    assert source.look().state == "ended"
    assert [stage.frames for stage in source.look().stages[:3]] == [400, 400, 400]
    (folder / "summary.json").write_text(TWO.model_copy(update={"run": RUN}).model_dump_json())
    (folder / "report.html").write_text("<p>")
    source.end_second(passed=0)
    look = source.look()
    assert look.state == "judged"
    assert look.verdict is not None
    assert (look.verdict.verdict, look.verdict.folder, look.verdict.page) == ("VALID", str(folder), True)


def test_a_name_that_is_used_again_is_a_run_of_its_own(clock: ManualClock, tmp_path: Path) -> None:
    """Kafka may come back empty: then no fleet is refused for its run's name."""
    source = feed(clock, runs=tmp_path, records=[frame("camera-0", 0)])
    source.add_plans([entry(Closing(run=RUN, part="gateway", name="gateway", summary={})), closing()])
    (tmp_path / RUN).mkdir()
    summary = tmp_path / RUN / "summary.json"
    summary.write_text(TWO.model_copy(update={"run": RUN}).model_dump_json())
    source.end_second(passed=0)
    assert source.look().state == "judged"
    again_ns = summary.stat().st_mtime_ns + SECOND_NS
    source.add_plans([entry(plan(start_ns=again_ns))])
    source.end_second(passed=0)
    look = source.look()
    assert (look.state, look.verdict, look.stages[1].frames) == ("planned", None, None)
    source.add_plans([closing()])
    source.end_second(passed=0)
    assert source.look().state == "ended", "the verdict in the folder is from before"
    assert not source.finished()
    # What is told twice, when Kafka is connected to again, is nothing new.
    before = source.look().watched_s
    clock.advance(by_ns=SECOND_NS)
    source.add_plans([entry(plan(start_ns=again_ns))])
    assert source.look().watched_s == before + 1


def test_the_run_that_was_asked_for_is_remembered_among_many(clock: ManualClock) -> None:
    source = feed(clock, run="first")
    source.add_plans([entry(plan(run="first")), *(entry(plan(run=f"run-{n}")) for n in range(RUNS_MOST))])
    source.add_plans([closing(run="first")])
    assert (source.look().run, source.look().state) == ("first", "ended")


def test_a_run_s_name_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "whole" / "whole-01-gateway").mkdir(parents=True)
    found = {
        run: verdict.folder_of(run, runs=tmp_path, report=None)
        for run in ("whole", "whole-01-gateway", "..", ".", "", "../etc", "/etc", "none", "x" * 300, "a\0b")
    }
    assert {run for run, place in found.items() if place} == {"whole", "whole-01-gateway"}
    assert found["whole-01-gateway"] == tmp_path / "whole" / "whole-01-gateway"
    assert verdict.folder_of("any", runs=tmp_path, report=tmp_path) == tmp_path
