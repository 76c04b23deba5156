"""What became of every frame, from records in memory: each counts once, and what is missing has a last place."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from consumers.ledger import summary, table
from consumers.ledger.collect import Collected
from consumers.ledger.kept import NONE
from consumers.ledger.run import DRAIN_S, LedgerSettings, follow
from consumers.ledger.table import NOT_SENT, Fate
from consumers.ledger.truth import Truth
from edgewise import account, dataset, topics
from edgewise.account import CameraAccount, Closing, Entry, Opening, Plan, Range
from edgewise.arrival import BRIDGED_NS
from edgewise.arrivals import packed
from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from edgewise.errors import MissingError, UnreachableError
from edgewise.kafka import Header, Place, Record
from edgewise.messages import Tier, decode_result, encode_frame, encode_result
from edgewise.summary import Lateness, Summary, TierSummary
from tests.fakes import FRAME, RESULT

RUN: Final = "tale"
START_NS: Final = 1_763_000_000_000_000_000
CAUGHT_UP_NS: Final = START_NS - SECOND_NS
"""When the ledger had read all there was: before the run, unless a test says otherwise."""
TRUTH: Final = (np.arange(10_000) % 10).astype(np.uint8)
LABELS: Final = Truth(lambda _: TRUTH)
LATENCY_NS: Final = 25 * MILLISECOND_NS
SENT_NS: Final = RESULT.sent_ns - RESULT.due_ns
GATEWAY: Final = (Tier.GATEWAY,)


def plan(**changes: Any) -> Plan:  # noqa: ANN401 - any field
    whole = Plan(
        run=RUN,
        fleet="yard",
        start_ns=START_NS,
        seed=1,
        cameras=1,
        rate_hz=10,
        frames=10,
        dataset="cifar10",
        split="test",
        images=10_000,
        dataset_sha256=dataset.SPLITS["test"].sha256,
        codec=FRAME.codec,
        drop_after_s=5,
        version="0.1.0",
    )
    return whole.model_copy(update=changes)


@dataclass
class Tale:
    """A run told record by record, in the order of the calls."""

    plan: Plan = field(default_factory=plan)
    caught_up_ns: int | None = CAUGHT_UP_NS
    collected: Collected = field(init=False)

    def __post_init__(self) -> None:
        self.collected = Collected(RUN, caught_up_ns=self.caught_up_ns)
        self.entry(self.plan)

    def add(self, topic: str, value: bytes, *, at_ns: int = START_NS, headers: Sequence[Header] = ()) -> None:
        """Let Kafka stamp a record at a moment and the ledger see it at the same one."""
        record = Record(topic, 0, 0, "", value, headers, at_ns)
        self.collected.add([record], now_ns=at_ns)

    def entry(self, entry: Entry) -> None:
        self.add(topics.RUNS, account.encode(entry))

    def account(self, camera: str = "yard-0", *, sent: Sequence[Range] = ((0, 9),), **fates: Sequence[Range]) -> None:
        whole = CameraAccount(run=RUN, camera=camera, sent=sent, confirmed=sent, unheard=(), refused=(), dropped=())
        self.entry(whole.model_copy(update=fates))

    def close(self, fleet: str = "yard", **counts: object) -> None:
        lateness: dict[str, object] = {"lateness_ms": {"p50": 0.5, "p99": 2.0, "max": 3.0}}
        self.entry(Closing(run=RUN, part="fleet", name=fleet, summary=lateness | counts))

    def frame(self, number: int, *, camera: str = "yard-0", run: str = RUN) -> None:
        due_ns, _ = self.schedule(camera, number)
        sent_ns, bridged_ns = due_ns + SENT_NS, due_ns + SENT_NS + MILLISECOND_NS
        wire = encode_frame(replace(FRAME, run=run, camera=camera, number=number, due_ns=due_ns, sent_ns=sent_ns))
        headers = [(BRIDGED_NS, str(bridged_ns).encode())]
        self.add(topics.FRAMES, wire, at_ns=bridged_ns + MILLISECOND_NS, headers=headers)

    def result(
        self,
        number: int,
        *,
        camera: str = "yard-0",
        run: str = RUN,
        tier: Tier = Tier.GATEWAY,
        wrong: bool = False,
        of_image: int | None = None,
        late_ns: int = LATENCY_NS,
    ) -> None:
        due_ns, image = self.schedule(camera, number)
        label = (int(TRUTH[image]) + wrong) % 10
        seen = image if of_image is None else of_image
        # No answer is seen before it was made, however soon it comes.
        moments = {
            name: due_ns + min(getattr(RESULT, name) - RESULT.due_ns, late_ns)
            for name in ("due_ns", "sent_ns", "received_ns", "started_ns", "inferred_ns")
        }
        whole = replace(RESULT, run=run, camera=camera, number=number, image=seen, tier=tier, label=label)
        self.add(topics.RESULTS, encode_result(replace(whole, **moments)), at_ns=due_ns + late_ns)

    def schedule(self, camera: str, number: int) -> tuple[int, int]:
        """Give when a frame is due and its image; of a stranger's, anything."""
        for one in self.collected.plans.values():
            for index in range(one.cameras):
                if camera == one.camera(index) and 0 <= number < one.frames:
                    return int(one.due_ns(index)[number]), int(one.image(index)[number])
        return START_NS, 0

    def rejection(self, *, by: str = "gateway", rule: str = "check-sum", at_ns: int = START_NS) -> None:
        self.add(topics.REJECTED, b"?", headers=[("by", by.encode()), ("rule", rule.encode())], at_ns=at_ns)

    def table(self, tiers: Sequence[Tier] = GATEWAY) -> pa.Table:
        return table.make(self.collected, tiers=tiers, truth=LABELS)

    def summary(self, tiers: Sequence[Tier] = GATEWAY) -> Summary:
        return summary.make(self.collected, self.table(tiers), tiers=tiers)

    def gateway(self) -> TierSummary:
        return self.summary().tiers["gateway"]

    def fates(self) -> dict[int, str]:
        rows = self.table().to_pylist()
        return {row["number"]: row["fate"] for row in rows if row["camera"] == "yard-0"}


def told(numbers: Iterable[int] = range(10)) -> Tale:
    """Tell a run of ten frames, all sent and in Kafka, of which these have a result."""
    tale = Tale()
    tale.account()
    tale.close()
    for number in range(10):
        tale.frame(number)
    for number in numbers:
        tale.result(number)
    return tale


def causes(found: Summary) -> dict[str, list[str]]:
    """Give each reason's rule, and those that were broken because of it."""
    return {reason.rule: [below.rule for below in reason.consequences] for reason in found.reasons}


def test_a_run_without_a_fault_is_valid_and_complete() -> None:
    tale = told()
    assert tale.collected.complete(GATEWAY)
    found = tale.summary()
    assert (found.verdict, found.reasons, found.run) == ("VALID", [], RUN)
    assert found.frames.model_dump() == {
        "scheduled": 10,
        "sent": 10,
        "confirmed": 10,
        "unheard": 0,
        "refused": 0,
        "dropped_at_source": 0,
        "bridged": 10,
        "bridged_copies": 0,
        "never_bridged": 0,
        "rejected": 0,
    }
    assert found.lateness_ms.model_dump() == {"p50": 0.5, "p99": 2.0, "max": 3.0}
    gateway = found.tiers["gateway"]
    assert (gateway.results, gateway.missing, gateway.correct, gateway.accuracy) == (10, 0, 10, 1.0)
    assert (gateway.engine, gateway.model, gateway.batch_mean) == (RESULT.engine, RESULT.model, RESULT.batch)
    # Ten frames at 10 a second: nine tenths from the first due to the last, which was answered 25 ms late.
    assert gateway.throughput_hz == pytest.approx(10 / 0.925, abs=0.01)
    assert gateway.latency_ms.model_dump() == {"p50": 25.0, "p90": None, "p99": None, "p999": None}


def test_one_row_a_frame_and_tier_and_no_more() -> None:
    tale = told(range(7))
    rows = tale.table([Tier.GATEWAY, Tier.CLUSTER]).to_pylist()
    assert [(row["number"], row["tier"]) for row in rows] == [
        (number, tier) for tier in ("gateway", "cluster") for number in range(10)
    ]
    assert [row["fate"] for row in rows if row["tier"] == "cluster"] == [Fate.UNANSWERED] * 10


def assert_each_frame_counts_once(tale: Tale) -> None:
    """Frame 0 is answered three times and frame 1 never: told by a ledger that counts rightly."""
    for number in (0, 2, 3, 0, 4, 5, 0, 6, 7, 8, 9):
        tale.result(number, late_ns=SECOND_NS if number == 0 and len(tale.collected.tiers[Tier.GATEWAY].first) else 0)
    found = tale.gateway()
    assert (found.results, found.missing, found.duplicates) == (9, 1, 2)
    assert tale.fates()[1] == Fate.UNANSWERED
    assert not tale.collected.complete(GATEWAY)
    first = tale.table().to_pylist()[0]
    assert (first["copies"], first["latency_ns"]) == (2, 0), "the first result counts, not the last"


class CountsTwice(Collected):
    """A ledger that takes each further result of a frame for that of the next one."""

    def _result(self, record: Record, *, now_ns: int) -> None:
        result = decode_result(record.value)
        answers, number = self.tiers[result.tier].first, result.number
        while answers.row(result.camera, number) != NONE:
            number += 1
        super()._result(replace(record, value=encode_result(replace(result, number=number))), now_ns=now_ns)


class KeepsTheLast(Collected):
    """A ledger that overwrites a result with its copy."""

    def _result(self, record: Record, *, now_ns: int) -> None:
        super()._result(record, now_ns=now_ns)
        result = decode_result(record.value)
        answers = self.tiers[result.tier].first
        answers.column("seen_ns")[answers.row(result.camera, result.number)] = now_ns


def test_a_duplicate_never_counts_again() -> None:
    assert_each_frame_counts_once(told([]))


@pytest.mark.parametrize("wrongly", [CountsTwice, KeepsTheLast])
def test_a_deliberately_wrong_ledger_is_found_out(wrongly: type[Collected]) -> None:
    tale = told([])
    right = tale.collected
    tale.collected = wrongly(RUN, CAUGHT_UP_NS, right.plans, right.cameras, right.closings, right.bridged)
    with pytest.raises(AssertionError):
        assert_each_frame_counts_once(tale)


def test_wrong_classes_are_counted_as_answered_and_not_as_correct() -> None:
    tale = told(range(4))
    for number in range(4, 8):
        tale.result(number, wrong=True)
    found = tale.gateway()
    assert (found.results, found.correct, found.accuracy) == (8, 4, 0.5)


def test_a_result_that_comes_after_a_higher_number_is_reordered() -> None:
    found = told([0, 3, 1, 2, 4, 4, 5]).gateway()
    assert found.reordered == 2
    assert found.duplicates == 1


def test_a_copy_is_not_reordered() -> None:
    assert told([0, 1, 2, 0]).gateway().reordered == 0


def test_every_fate_is_told_by_the_last_place_where_the_frame_was_seen() -> None:
    tale = Tale(plan(cameras=2, frames=7))
    tale.account(
        sent=[(0, 0), (2, 6)],
        confirmed=[(0, 0), (5, 6)],
        dropped=[(1, 1)],
        refused=[(2, 2)],
        unheard=[(3, 3)],
    )
    tale.close()
    for number in (0, 6):
        tale.frame(number)
    tale.result(0)
    assert tale.fates() == {
        0: Fate.ANSWERED,
        1: Fate.DROPPED,
        2: Fate.REFUSED,
        3: Fate.UNHEARD,
        4: Fate.UNCONFIRMED,
        5: Fate.UNBRIDGED,
        6: Fate.UNANSWERED,
    }
    of_the_other = [row["fate"] for row in tale.table().to_pylist() if row["camera"] == "yard-1"]
    assert of_the_other == [Fate.NO_ACCOUNT] * 7
    assert {*tale.fates().values(), *of_the_other} == set(Fate), "a fate that no test provokes"
    found = tale.summary()
    gateway = found.tiers["gateway"]
    assert gateway.missing == sum(gateway.missing_by_last_place.values()) == 12
    assert not set(gateway.missing_by_last_place) & (NOT_SENT | {Fate.ANSWERED})
    frames = found.frames
    counts = (frames.sent, frames.confirmed, frames.dropped_at_source, frames.refused, frames.unheard)
    assert counts == (6, 3, 1, 1, 1)


def test_a_bridged_frame_is_answered_even_if_its_confirmation_never_came() -> None:
    tale = Tale()
    tale.account(confirmed=[])
    tale.frame(0)
    tale.frame(1)
    tale.result(0)
    assert (tale.fates()[0], tale.fates()[1]) == (Fate.ANSWERED, Fate.UNANSWERED)


def test_a_dropped_frame_is_owed_by_no_tier() -> None:
    tale = Tale()
    tale.account(sent=[(0, 7)], dropped=[(8, 9)])
    tale.close()
    for number in range(8):
        tale.frame(number)
        tale.result(number)
    assert tale.collected.complete(GATEWAY)
    found = tale.summary()
    assert (found.tiers["gateway"].missing, found.frames.dropped_at_source) == (0, 2)
    (reason,) = found.reasons
    assert (found.verdict, reason.rule, reason.found, reason.limit) == ("INVALID", "dropped at source", 2, 0)
    assert "too slow for the schedule" in reason.next


def test_what_is_missing_makes_the_run_invalid_and_names_the_place() -> None:
    found = told(range(8)).summary()
    assert found.verdict == "INVALID"
    (reason,) = found.reasons
    assert (reason.rule, reason.found, reason.limit) == ("missing in gateway", 2, 0)
    assert Fate.UNANSWERED in reason.next


def test_rejections_count_for_the_part_that_rejected_by_their_rule() -> None:
    tale = told()
    for rule in ("check-sum", "check-sum", "payload"):
        tale.rejection(rule=rule)
    tale.rejection(by="bridge", rule="too-large")
    tale.rejection(by="cluster")
    found = tale.summary()
    gateway = found.tiers["gateway"]
    assert (gateway.rejected, gateway.rejected_by_rule) == (3, {"check-sum": 2, "payload": 1})
    assert found.frames.rejected == 1
    assert found.verdict == "INVALID"
    assert [reason.rule for reason in found.reasons] == ["rejected by the bridge", "rejected by gateway"]


def test_rejections_of_earlier_runs_are_not_this_ones() -> None:
    tale = told()
    tale.rejection(at_ns=START_NS - 2 * SECOND_NS)
    assert tale.summary().verdict == "VALID"


def test_a_rejection_whose_headers_are_no_text_harms_nobody() -> None:
    tale = told()
    tale.add(topics.REJECTED, b"?", headers=[("by", b"\xff\xfe"), ("rule", b"\xff")])
    assert tale.summary().verdict == "VALID"


def test_results_frames_and_entries_of_other_runs_are_not_seen() -> None:
    tale = told(range(5))
    for number in range(10):
        tale.result(number, run="other")
        tale.frame(number, run="other")
    tale.entry(plan(run="other", fleet="other", frames=1000))
    tale.entry(Closing(run="other", part="fleet", name="other", summary={}))
    found = tale.summary()
    assert (found.frames.scheduled, found.frames.bridged, found.frames.bridged_copies) == (10, 10, 0)
    assert (found.tiers["gateway"].results, found.tiers["gateway"].duplicates) == (5, 0)


@pytest.mark.parametrize("topic", [topics.RESULTS, topics.FRAMES, topics.RUNS])
def test_what_cannot_be_read_is_passed_over(topic: str) -> None:
    tale = told()
    for wire in (b"", b"\xc3\x01", b"{}", bytes(100)):
        tale.add(topic, wire)
    assert tale.summary().verdict == "VALID"


def test_the_other_tiers_results_are_not_this_tiers() -> None:
    tale = told(range(5))
    for number in range(10):
        tale.result(number, tier=Tier.CLUSTER)
    found = tale.summary([Tier.GATEWAY, Tier.CLUSTER])
    assert {name: tier.results for name, tier in found.tiers.items()} == {"gateway": 5, "cluster": 10}
    assert tale.collected.complete([Tier.CLUSTER])
    assert not tale.collected.complete([Tier.GATEWAY, Tier.CLUSTER])


@pytest.mark.parametrize(
    ("camera", "number"), [("stranger-0", 0), ("yard-1", 3), ("yard-0", 10), ("yard-0", 2**40), ("yard-0", -1)]
)
def test_a_result_that_no_plan_knows_is_not_counted_and_completes_nothing(camera: str, number: int) -> None:
    tale = told(range(9))
    for _ in range(3):
        tale.result(number, camera=camera)
        tale.frame(number, camera=camera)
    assert tale.collected.planned(tale.collected.tiers[Tier.GATEWAY].first) == 9
    assert not tale.collected.complete(GATEWAY)
    found = tale.summary()
    gateway = found.tiers["gateway"]
    assert (gateway.results, gateway.missing, gateway.duplicates, gateway.reordered) == (9, 1, 0, 0)
    assert found.frames.bridged == 10


def test_copies_in_kafka_are_counted_apart() -> None:
    tale = told()
    tale.frame(3)
    tale.frame(3)
    frames = tale.summary().frames
    assert (frames.bridged, frames.bridged_copies) == (10, 2)


def test_what_was_in_kafka_before_the_ledger_had_caught_up_is_timed_by_its_append_stamp() -> None:
    tale = Tale(caught_up_ns=START_NS + 3600 * SECOND_NS)
    assert tale.caught_up_ns is not None
    seen_ns = tale.caught_up_ns + SECOND_NS
    stamps_ns = (int(tale.plan.due_ns(0)[0]) + 5 * MILLISECOND_NS, tale.caught_up_ns - MILLISECOND_NS, seen_ns)
    for number, stamp_ns in enumerate(stamps_ns):
        wire = encode_result(replace(RESULT, run=RUN, camera="yard-0", number=number, tier=Tier.GATEWAY))
        tale.collected.add([Record(topics.RESULTS, 0, 0, "", wire, (), stamp_ns)], now_ns=seen_ns)
    rows = tale.table().to_pylist()[:3]
    assert rows[0]["latency_ns"] == 5 * MILLISECOND_NS
    # Stamps are whole milliseconds, cut off: one of the moment itself may be a little before it.
    assert [row["seen_ns"] for row in rows] == [stamps_ns[0], seen_ns, seen_ns]
    assert tale.gateway().late_readings == 1


def test_a_ledger_that_never_caught_up_times_every_result_by_its_stamp() -> None:
    tale = Tale(caught_up_ns=None)
    for number in range(3):
        tale.result(number)
    assert tale.gateway().late_readings == 3


def test_the_stages_between_are_medians_of_what_each_result_says() -> None:
    stages = told().gateway().latency_stages_ms
    assert set(stages) == {"source", "transport", "queue", "inference", "result"}
    assert stages["queue"] == pytest.approx((RESULT.started_ns - RESULT.received_ns) / MILLISECOND_NS, abs=1e-3)
    assert stages["inference"] == pytest.approx((RESULT.inferred_ns - RESULT.started_ns) / MILLISECOND_NS, abs=1e-3)


def test_a_run_is_complete_only_when_its_fleet_has_closed() -> None:
    tale = Tale()
    for number in range(10):
        tale.frame(number)
        tale.result(number)
    assert not tale.collected.complete(GATEWAY)
    tale.account()
    assert not tale.collected.complete(GATEWAY)
    tale.close()
    assert tale.collected.complete(GATEWAY)


def test_a_run_is_complete_only_when_its_frames_are_in_kafka_too() -> None:
    tale = Tale()
    tale.account()
    tale.close()
    for number in range(10):
        tale.result(number)
    assert not tale.collected.complete(GATEWAY)


def test_a_fleet_that_joins_is_part_of_the_run() -> None:
    tale = told()
    tale.entry(plan(fleet="roof", cameras=2, frames=3, start_ns=START_NS + SECOND_NS))
    assert not tale.collected.complete(GATEWAY)
    assert causes(tale.summary()) == {"account": ["missing in gateway"]}
    for camera in ("roof-0", "roof-1"):
        tale.account(camera, sent=[(0, 2)])
        for number in range(3):
            tale.frame(number, camera=camera)
            tale.result(number, camera=camera)
    tale.close("roof")
    assert tale.collected.complete(GATEWAY)
    found = tale.summary()
    assert (found.verdict, found.frames.scheduled, found.frames.sent) == ("VALID", 16, 16)
    assert found.tiers["gateway"].results == 16
    # Percentiles of two fleets cannot be merged.
    assert found.lateness_ms.model_dump() == {"p50": None, "p99": None, "max": None}


def test_the_run_began_with_its_first_fleet() -> None:
    tale = told()
    tale.entry(plan(fleet="roof", start_ns=START_NS + 100 * SECOND_NS))
    assert tale.collected.start_ns() == START_NS


def test_without_a_closing_account_nothing_is_said_of_what_was_sent() -> None:
    tale = Tale()
    tale.account()
    frames = tale.summary().frames
    assert (frames.scheduled, frames.sent, frames.confirmed, frames.dropped_at_source) == (10, None, None, None)


def test_a_run_that_nobody_planned_is_invalid_and_nothing_of_it_is_measured() -> None:
    collected = Collected(RUN, CAUGHT_UP_NS)
    found = summary.make(collected, table.make(collected, tiers=GATEWAY, truth=LABELS), tiers=GATEWAY)
    assert (found.verdict, [reason.rule for reason in found.reasons]) == ("INVALID", ["plan"])
    gateway = found.tiers["gateway"]
    assert (gateway.accuracy, gateway.throughput_hz, gateway.latency_ms.p50, gateway.batch_mean) == (None,) * 4
    assert not collected.complete(GATEWAY)


def test_missing_frames_push_the_percentiles_of_a_run_to_null() -> None:
    assert told(range(6)).gateway().latency_ms.p50 == 25.0
    assert told(range(4)).gateway().latency_ms.p50 is None


def test_the_table_survives_the_file(tmp_path: Path) -> None:
    made = told(range(6)).table()
    table.write(made, tmp_path / "frames.parquet")
    assert pq.read_table(tmp_path / "frames.parquet").to_pylist() == made.to_pylist()


# --- two tiers ----------------------------------------------------------------------------------

BOTH: Final = (Tier.GATEWAY, Tier.CLUSTER)


def answered_by_both(frames: int = 10) -> Tale:
    """Tell a run whose frames both tiers answered rightly: the cluster 100 ms later."""
    tale = Tale(plan(frames=frames))
    tale.account(sent=((0, frames - 1),))
    tale.close()
    for number in range(frames):
        tale.frame(number)
        tale.result(number)
        tale.result(number, tier=Tier.CLUSTER, late_ns=LATENCY_NS + 100 * MILLISECOND_NS)
    return tale


def paired(tale: Tale) -> dict[str, Any]:
    found = tale.summary(BOTH).paired
    assert found is not None
    return found.model_dump()


def test_two_tiers_that_agree_are_set_side_by_side() -> None:
    tale = answered_by_both(frames=50)
    assert tale.collected.complete(BOTH)
    assert tale.summary(BOTH).verdict == "VALID"
    assert paired(tale) == {
        "frames": 50,
        "agreement": 1.0,
        "both_right": 50,
        "only_gateway_right": 0,
        "only_cluster_right": 0,
        "both_wrong": 0,
        "accuracy_difference": 0.0,
        "accuracy_difference_interval": {"low": 0.0, "high": 0.0},
        "mcnemar_p": 1.0,
        "latency_difference_ms": {"p50": 100.0, "p90": 100.0, "p50_interval": {"low": 100.0, "high": 100.0}},
        "measured": 50,
    }


def test_a_difference_is_clusters_minus_gateways_frame_by_frame_and_needs_its_samples() -> None:
    tale = told([])
    # The same latencies on both sides, of other frames: their percentiles are alike, and no frame's are.
    for number in range(10):
        tale.result(number, late_ns=number * MILLISECOND_NS)
        tale.result(number, tier=Tier.CLUSTER, late_ns=(9 - number) * MILLISECOND_NS)
    found = paired(tale)["latency_difference_ms"]
    assert (found["p50"], found["p90"]) == (-1.0, None)
    assert found["p50_interval"]["low"] <= -1.0 <= found["p50_interval"]["high"]


@pytest.mark.parametrize("tiers", [[Tier.GATEWAY], [Tier.CLUSTER]])
def test_one_tier_has_nothing_to_be_compared_with(tiers: Sequence[Tier]) -> None:
    assert answered_by_both().summary(tiers).paired is None


def test_disagreements_say_who_was_right() -> None:
    tale = told([])
    # Wrong in the gateway, wrong in the cluster:
    wrong = {0: (True, False), 1: (False, True), 2: (False, True), 3: (True, True)}
    for number in range(10):
        in_gateway, in_cluster = wrong.get(number, (False, False))
        tale.result(number, wrong=in_gateway)
        tale.result(number, wrong=in_cluster, tier=Tier.CLUSTER)
    found = paired(tale)
    assert found["agreement"] == 0.7, "both wrong in the same way is agreement too"
    counts = [found[name] for name in ("both_right", "only_gateway_right", "only_cluster_right", "both_wrong")]
    assert counts == [6, 2, 1, 1]


def test_frames_that_one_tier_misses_are_missing_there_and_in_no_pair() -> None:
    tale = told(range(10))
    for number in range(7):
        tale.result(number, tier=Tier.CLUSTER)
    found = tale.summary(BOTH)
    assert [reason.rule for reason in found.reasons] == ["missing in cluster"]
    assert (found.tiers["gateway"].missing, found.tiers["cluster"].missing) == (0, 3)
    assert found.tiers["cluster"].missing_by_last_place == {Fate.UNANSWERED: 3}
    assert found.paired is not None
    assert (found.paired.frames, found.paired.agreement) == (7, 1.0)
    assert not tale.collected.complete(BOTH)


def test_what_the_bridge_lost_is_missing_in_the_cluster_only_and_the_bridge_is_the_cause() -> None:
    tale = never_bridged()
    for number in {*range(10)} - {3, 4}:
        tale.result(number, tier=Tier.CLUSTER)
    found = tale.summary(BOTH)
    assert causes(found) == {Fate.UNBRIDGED: ["missing in cluster"]}
    assert found.tiers["cluster"].missing_by_last_place == {Fate.UNBRIDGED: 2}


def test_a_micro_batch_that_runs_again_counts_once() -> None:
    tale = answered_by_both()
    for number in range(4, 10):
        tale.result(number, tier=Tier.CLUSTER, late_ns=9 * SECOND_NS)
    found = tale.summary(BOTH)
    cluster = found.tiers["cluster"]
    assert (found.verdict, cluster.results, cluster.duplicates) == ("VALID", 10, 6)
    assert (found.tiers["gateway"].duplicates, cluster.reordered) == (0, 0)
    assert paired(tale) == paired(answered_by_both()), "the first answer is the one that is compared"


def test_tiers_without_a_frame_in_common_agree_in_nothing() -> None:
    tale = told(range(5))
    for number in range(5, 10):
        tale.result(number, tier=Tier.CLUSTER)
    found = paired(tale)
    assert (found["frames"], found["agreement"]) == (0, None)
    assert found["latency_difference_ms"] == {"p50": None, "p90": None, "p50_interval": None}
    assert (found["accuracy_difference"], found["mcnemar_p"]) == (None, None)


def test_a_run_without_a_plan_has_no_pair_either() -> None:
    collected = Collected(RUN, CAUGHT_UP_NS)
    found = summary.make(collected, table.make(collected, tiers=BOTH, truth=LABELS), tiers=BOTH)
    assert found.paired is not None
    assert found.paired.frames == 0


def test_without_the_truth_two_tiers_agree_and_nobody_is_right() -> None:
    tale = answered_by_both()
    tale.entry(plan(dataset_sha256="f" * 64))
    found = paired(tale)
    assert (found["agreement"], found["both_right"], found["both_wrong"]) == (1.0, 0, 0)


def test_results_go_up_from_the_gateway_and_frames_to_the_cluster() -> None:
    tale = told(range(6))
    for number in range(6):
        tale.result(number, tier=Tier.CLUSTER)
    rows = tale.table(BOTH).to_pylist()
    found = tale.summary(BOTH).tiers
    results = sum(row["result_bytes"] for row in rows if row["tier"] == "gateway" and row["result_bytes"])
    assert found["gateway"].uplink_bytes == results
    # A frame without an answer has travelled too.
    unanswered = 4 * len(encode_frame(replace(FRAME, run=RUN, camera="yard-0", number=9)))
    assert found["cluster"].uplink_bytes == 6 * RESULT.size_bytes + unanswered


def test_the_tasks_are_the_most_that_a_result_names() -> None:
    tale = told(range(3))
    assert tale.gateway().tasks == RESULT.tasks
    wire = encode_result(replace(RESULT, run=RUN, camera="yard-0", number=3, tier=Tier.GATEWAY, tasks=9))
    tale.add(topics.RESULTS, wire)
    assert tale.gateway().tasks == 9
    assert told([]).gateway().tasks is None


def test_a_part_that_opens_its_account_changes_none(capsys: pytest.CaptureFixture[str]) -> None:
    tale = told()
    before = tale.summary()
    tale.entry(Opening(run=RUN, part="cluster", name="cluster", ready_ns=START_NS, facts={}))
    assert tale.summary() == before
    assert capsys.readouterr().err == ""


def test_a_disk_that_takes_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"frames\.parquet cannot be written: .*; free some space"):
        table.write(told().table(), tmp_path / "nowhere" / "frames.parquet")


def test_numbers_that_no_column_can_hold_are_no_results_and_change_none() -> None:
    tale = told(range(5))
    tale.add(topics.RESULTS, encode_result(replace(RESULT, run=RUN, camera="yard-0", number=7, batch=2**40)))
    for number in range(5, 10):
        tale.result(number)
    rows = tale.table().to_pylist()[:10]
    assert [row["batch"] for row in rows] == [RESULT.batch] * 10
    assert tale.gateway().results == 10


# --- what else must not pass for VALID ----------------------------------------------------------


def never_bridged(*, answered: Iterable[int] = range(10)) -> Tale:
    """Tell a run whose gateway has its frames from MQTT and whose bridge lost frames 3 and 4."""
    tale = Tale()
    tale.account()
    tale.close()
    for number in {*range(10)} - {3, 4}:
        tale.frame(number)
    for number in answered:
        tale.result(number)
    return tale


def test_a_bridge_that_loses_frames_makes_the_run_invalid_though_all_are_answered() -> None:
    tale = never_bridged()
    assert set(tale.fates().values()) == {Fate.ANSWERED}, "the fate of an answered frame stays answered"
    found = tale.summary()
    (reason,) = found.reasons
    assert (found.verdict, found.frames.never_bridged, found.tiers["gateway"].missing) == ("INVALID", 2, 0)
    assert (reason.rule, reason.found, reason.limit) == (Fate.UNBRIDGED, 2, 0)
    assert "bridge" in reason.next


def test_the_cause_stands_first_if_it_is_the_cause_of_all_that_is_missing() -> None:
    found = never_bridged(answered={*range(10)} - {3, 4}).summary()
    assert causes(found) == {Fate.UNBRIDGED: ["missing in gateway"]}
    found = never_bridged(answered={*range(10)} - {3, 5}).summary()
    assert causes(found) == {Fate.UNBRIDGED: [], "missing in gateway": []}


def test_an_account_of_more_than_the_plan_counts_only_what_was_planned() -> None:
    tale = told()
    tale.account(sent=[(0, 9)], confirmed=[(0, 15)])
    assert tale.summary().frames.never_bridged == 0


def test_without_accounts_nobody_knows_what_was_never_bridged() -> None:
    tale = Tale()
    tale.result(0)
    assert tale.summary().frames.never_bridged is None


def test_a_run_of_which_nothing_was_sent_is_not_valid() -> None:
    tale = Tale()
    tale.account(sent=(), confirmed=(), dropped=[(0, 9)])
    tale.close()
    found = tale.summary()
    assert found.verdict == "INVALID"
    assert causes(found) == {"dropped at source": ["no results in gateway"]}


def test_a_run_without_results_says_so_once() -> None:
    assert [reason.rule for reason in told([]).summary().reasons] == ["missing in gateway"]


@pytest.mark.parametrize(
    "change",
    [{"dataset_sha256": "f" * 64}, {"dataset": "cifar100"}, {"split": "validation"}, {"images": 20_000}],
)
def test_frames_of_another_data_set_are_judged_by_nobody(change: Mapping[str, object]) -> None:
    tale = Tale(plan(**change))
    tale.account()
    tale.close()
    for number in range(10):
        tale.frame(number)
        tale.result(number)
    found = tale.summary()
    (reason,) = found.reasons
    assert (found.verdict, reason.rule, reason.found) == ("INVALID", "other data set", 10)
    assert (found.tiers["gateway"].results, found.tiers["gateway"].accuracy) == (10, None)


def test_pictures_are_judged_by_the_classes_in_their_own_plan() -> None:
    own = np.array([3, 1, 4, 1, 5])
    told_in = {"dataset": "pictures", "split": "yard", "dataset_sha256": "f" * 64, "images": 5, "skipped": 2}
    tale = Tale(plan(**told_in, labels=packed(own)))
    tale.account()
    tale.close()
    for number in range(10):
        tale.frame(number)
        tale.result(number)
    found = tale.summary()
    assert tale.table()["truth"].to_pylist() == own.tolist() * 2
    assert tale.table()["label"].to_pylist() == [0, 1, 2, 3, 4] * 2
    assert found.tiers["gateway"].accuracy == 0.2
    assert found.verdict == "VALID"
    told = {"dataset": "pictures", "split": "yard", "images": 5, "sha256": "f" * 64, "skipped": 2}
    assert found.images["yard"].model_dump() == told


def test_an_answer_to_another_image_is_not_correct_and_named() -> None:
    tale = told(range(8))
    for number in (8, 9):
        tale.result(number, of_image=7)
    found = tale.summary()
    (reason,) = found.reasons
    assert (found.verdict, reason.rule, reason.found, reason.limit) == ("INVALID", "wrong image in gateway", 2, 0)
    assert found.tiers["gateway"].accuracy == 0.8


def test_the_labels_are_loaded_before_the_run_and_those_of_train_when_a_plan_wants_them() -> None:
    loaded: list[str] = []

    def load(split: str) -> Any:  # noqa: ANN401 - an array
        loaded.append(split)
        return TRUTH

    truth = Truth(load)
    assert loaded == ["test"]
    expected = dataset.SPLITS["train"]
    train = plan(split="train", dataset_sha256=expected.sha256, images=expected.images)
    assert truth.labels(train) is TRUTH
    assert truth.labels(train) is TRUTH
    assert truth.labels(plan()) is TRUTH
    assert loaded == ["test", "train"]
    assert truth.labels(plan(split="../etc")) is None


# --- records of other programs ------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"lateness_ms": 7},
        {"lateness_ms": {"p50": "soon"}},
        {"lateness_ms": {"p50": "1", "p99": "1", "max": "1"}},
        {"lateness_ms": {"p50": 1.0, "p99": 1.0, "max": 1e999}},
    ],
)
def test_a_closing_account_with_odd_lateness_is_not_measured(said: dict[str, object]) -> None:
    tale = told()
    wire = {"kind": "closing", "run": RUN, "part": "fleet", "name": "yard", "summary": said}
    tale.add(topics.RUNS, json.dumps(wire).encode())
    found = tale.summary()
    assert (found.verdict, found.lateness_ms) == ("VALID", Lateness(p50=None, p99=None, max=None))


def test_the_closing_account_of_a_fleet_that_planned_nothing_is_nobodys() -> None:
    tale = told()
    tale.close("stranger", lateness_ms={"p50": 9.0, "p99": 9.0, "max": 9.0})
    assert tale.summary().lateness_ms.p50 == 0.5


# --- reading ------------------------------------------------------------------------------------


class Stream:
    """Kafka for a ledger, under a clock that it moves: a record is there from one moment, and given from another."""

    def __init__(self, clock: ManualClock, *, away: tuple[float, float] = (0, 0)) -> None:
        self._clock, self._away = clock, away
        self._records: list[tuple[float, float, Record]] = []
        self.asked = 0
        """How often for the lag."""

    def now_s(self) -> float:
        return (self._clock.now_ns() - START_NS) / SECOND_NS

    def add(self, topic: str, value: bytes, *, at_s: float = 0, given_s: float | None = None) -> None:
        stamp_ns = START_NS + round(at_s * SECOND_NS)
        self._records.append((at_s, at_s if given_s is None else given_s, Record(topic, 0, 0, "", value, (), stamp_ns)))

    def result(self, number: int, *, at_s: float = 0, given_s: float | None = None) -> None:
        answer = replace(RESULT, run=RUN, camera="yard-0", number=number, tier=Tier.GATEWAY)
        self.add(topics.RESULTS, encode_result(answer), at_s=at_s, given_s=given_s)

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        given = [one for one in self._records if one[1] <= self.now_s()][:limit]
        self._records = [one for one in self._records if one not in given]
        if not given:
            self._clock.advance(by_ns=round(wait_s * SECOND_NS))
        return [record for _, _, record in given]

    def commit(self, following: Mapping[Place, int]) -> None:
        raise NotImplementedError

    def lag(self) -> int:
        self.asked += 1
        if self._away[0] < self.now_s() < self._away[1]:
            raise UnreachableError("Kafka", at="here", hint="start it")
        return sum(at_s <= self.now_s() for at_s, _, _ in self._records)

    def close(self) -> None:
        raise NotImplementedError


def closed_run(clock: ManualClock, *, away: tuple[float, float] = (0, 0)) -> Stream:
    """Tell a ledger of ten frames, sent and in Kafka, of a fleet that has closed."""
    stream = Stream(clock, away=away)
    sent: Sequence[Range] = ((0, 9),)
    camera = CameraAccount(run=RUN, camera="yard-0", sent=sent, confirmed=sent, unheard=(), refused=(), dropped=())
    for entry in (plan(), camera, Closing(run=RUN, part="fleet", name="yard", summary={})):
        stream.add(topics.RUNS, account.encode(entry))
    for number in range(10):
        stream.add(topics.FRAMES, encode_frame(replace(FRAME, run=RUN, camera="yard-0", number=number)))
    return stream


def followed(stream: Stream, clock: ManualClock, *, until_s: float = 1000) -> Collected:
    settings = LedgerSettings(kafka="here", run=RUN, out=Path(), settle_s=10)
    return follow(stream, settings, clock=clock, done=lambda: stream.now_s() >= until_s, truth=LABELS)


def test_a_ledger_ends_when_nothing_has_come_for_long_enough_and_seldom_asks_for_the_lag() -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock)
    stream.result(0)
    collected = followed(stream, clock)
    assert len(collected.tiers[Tier.GATEWAY].first) == 1
    assert 10 <= stream.now_s() < 11
    assert stream.asked <= 5


def test_a_kafka_that_is_away_is_not_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock, away=(1, 60))
    stream.result(0, at_s=60.5)
    assert len(followed(stream, clock).tiers[Tier.GATEWAY].first) == 1
    assert 70 <= stream.now_s() < 75
    assert capsys.readouterr().err.count("Kafka does not answer at here; start it") == 1


def test_what_is_in_kafka_and_not_yet_taken_is_waited_for() -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock)
    stream.result(0, at_s=5, given_s=45)
    assert len(followed(stream, clock).tiers[Tier.GATEWAY].first) == 1


def test_a_ledger_reads_to_the_end_and_not_to_the_first_pause() -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock)
    for number in range(10):
        stream.result(number)
    stream.result(3, given_s=1)
    assert followed(stream, clock).tiers[Tier.GATEWAY].first.numbers("copies").sum() == 1


def test_a_ledger_that_is_asked_to_stop_stops_though_the_end_is_out_of_reach() -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock)
    stream.result(0, given_s=10_000)
    followed(stream, clock, until_s=2)
    assert stream.now_s() <= 2 + DRAIN_S + 1


def test_results_that_came_while_old_frames_were_read_are_timed_by_their_stamp() -> None:
    clock = ManualClock(start_ns=START_NS)
    stream = closed_run(clock)
    stream.add(topics.FRAMES, b"of another run", at_s=-10, given_s=4)
    stream.result(0, at_s=1, given_s=4)
    stream.result(1, at_s=6, given_s=6.5)
    collected = followed(stream, clock)
    first = collected.tiers[Tier.GATEWAY].first
    waited_ns = first.numbers("seen_ns") - first.numbers("appended_ns")
    assert collected.caught_up_ns is not None
    assert 4 * SECOND_NS <= collected.caught_up_ns - START_NS <= 5 * SECOND_NS
    assert [first.row("yard-0", number) for number in range(2)] == [0, 1]
    assert waited_ns[0] == 0
    assert waited_ns[1] >= SECOND_NS // 2
    assert (
        summary.make(collected, table.make(collected, tiers=GATEWAY, truth=LABELS), tiers=GATEWAY)
        .tiers["gateway"]
        .late_readings
        == 1
    )
    assert stream.asked <= 15, "at most every half second"
