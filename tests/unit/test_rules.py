"""Runs with one fault each: INVALID for the right first reason, its consequences under it; and healthy ones, VALID."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest

from consumers.ledger import clocks
from consumers.ledger.causes import Broken, arranged
from consumers.ledger.clocks import Step
from consumers.ledger.run import card_of
from consumers.ledger.table import Fate
from edgewise import topics
from edgewise.account import Closing
from edgewise.errors import ConfigError
from edgewise.kafka import Record
from edgewise.messages import Tier
from edgewise.summary import Limits, Reason
from models.card import Card, Check
from tests.tables import BOTH, NAMES, RUN, START_NS, Told, causes, first

GATEWAY, CLUSTER = BOTH


def test_a_healthy_run_is_valid_and_says_by_which_limits() -> None:
    found = Told().summary()
    assert (found.verdict, found.reasons, found.remarks) == ("VALID", [], [])
    assert found.limits == Limits()


# --- the generator ------------------------------------------------------------------------------


def late(told: Told, *, ms: float, share: float = 0.02) -> Told:
    """Let a share of the frames leave late, on both tiers."""
    which = np.random.default_rng(2).random(len(told.due_ns)) < share
    for answers in told.answers.values():
        for name in NAMES:
            answers.moments_ns[name][which] += round(ms * 1e6)
    return told


def test_a_slowed_generator_is_the_first_reason() -> None:
    reason = first(late(Told(), ms=40).summary())
    assert (reason.rule, reason.limit, reason.unit) == ("late generator", 5.0, "ms")
    assert reason.found == pytest.approx(40.5)


def test_what_was_dropped_because_of_it_stands_under_it() -> None:
    told = late(Told(), ms=40)
    told.answers[GATEWAY].miss(told.after_s > 39, Fate.DROPPED)
    told.answers[CLUSTER].miss(told.after_s > 39, Fate.DROPPED)
    for index in range(told.cameras):
        account = told.collected.cameras[f"yard-{index}"]
        told.entry(account.model_copy(update={"sent": [(0, 584)], "dropped": [(585, 599)]}))
    assert causes(told.summary()) == {"late generator": ["dropped at source"]}


@pytest.mark.parametrize(
    ("ms", "share", "limits"),
    [
        (3.0, 0.02, {}),
        (40.0, 0.005, {}),
        (40.0, 0.02, {"late_ms": 50.0}),
        (40.0, 0.02, {"late_share": 3.0}),
    ],
    ids=["5 ms are allowed", "to 1 % of the frames", "or what the limit says", "as a share of the median latency, too"],
)
def test_a_little_lateness_is_none(ms: float, share: float, limits: dict[str, Any]) -> None:
    assert late(Told(), ms=ms, share=share).summary(limits=Limits(**limits)).verdict == "VALID"


def test_too_few_frames_for_a_p99_are_judged_by_their_median() -> None:
    assert late(Told(frames=100), ms=40, share=0.3).summary().verdict == "VALID"
    reason = first(late(Told(frames=100), ms=40, share=0.7).summary())
    assert (reason.rule, reason.found) == ("late generator", 40.5)
    assert reason.next.startswith("50 % of the frames left their cameras no later")


def test_lateness_of_the_warm_up_is_not_judged() -> None:
    told = Told()
    for answers in told.answers.values():
        answers.wait(np.where(told.after_s < 1, 40.0, 0.0))
        answers.moments_ns["sent"][told.after_s < 1] += 10**6
    assert told.summary().verdict == "VALID"


# --- samples and copies -------------------------------------------------------------------------


def test_too_few_samples_are_remarked_and_a_reason_if_they_were_asked_for() -> None:
    told = Told(frames=50)
    remarked = told.summary()
    assert remarked.verdict == "VALID"
    assert [(one.rule, one.found, one.limit) for one in remarked.remarks] == [
        (f"few samples in {tier}", 200, 459) for tier in BOTH
    ]
    refused = told.summary(limits=Limits(samples=459))
    assert [(one.rule, one.found, one.limit) for one in refused.reasons] == [
        (f"too few samples in {tier}", 200, 459) for tier in BOTH
    ]
    assert refused.remarks == []


def test_copies_are_remarked() -> None:
    told = Told()
    told.answers[GATEWAY].copies[:300] = 1
    found = told.summary()
    assert found.verdict == "VALID"
    assert [(one.rule, one.found) for one in found.remarks] == [("copies in gateway", 300)]


def test_results_that_all_come_twice_are_an_error() -> None:
    told = Told()
    told.answers[CLUSTER].copies[:] = 1
    reason = first(told.summary())
    assert (reason.rule, reason.found, reason.limit) == ("duplicated results in cluster", 2400, 2160)


def test_a_frame_that_is_counted_twice_is_found_out() -> None:
    told = Told(tiers=[GATEWAY])
    whole = told.table

    def doubled() -> Any:  # noqa: ANN401 - Arrow has no types
        import pyarrow as pa

        table = whole()
        return pa.concat_tables([table, table.slice(0, 2)])

    told.table = doubled  # type: ignore[method-assign]
    reason = first(told.summary())
    assert (reason.rule, reason.found) == ("counted twice in gateway", 2)


# --- cameras ------------------------------------------------------------------------------------


def test_a_camera_without_answers_is_starved_and_the_cause_of_what_is_missing() -> None:
    told = Told()
    told.answers[CLUSTER].miss(told.camera == 2)
    found = told.summary()
    assert causes(found) == {"starving camera in cluster": ["missing in cluster"]}
    assert "yard-2" in found.reasons[0].next
    cluster = found.tiers["cluster"]
    assert (cluster.starved_cameras, cluster.starved_names) == (1, ["yard-2"])
    assert (found.tiers["gateway"].starved_cameras, found.tiers["gateway"].starved_names) == (0, [])


def test_a_camera_that_nobody_answers_is_said_once() -> None:
    told = Told()
    for tier in BOTH:
        told.answers[tier].miss(told.camera == 2, Fate.UNCONFIRMED)
    assert causes(told.summary()) == {
        "starving camera in gateway": ["starving camera in cluster", "missing in gateway", "missing in cluster"]
    }


def test_a_camera_far_behind_the_others_is_starved() -> None:
    told = Told()
    told.answers[GATEWAY].wait(np.where(told.camera == 1, 1500.0, 0.0))
    found = told.summary()
    assert causes(found) == {"starving camera in gateway": []}
    worst = found.tiers["gateway"].worst_camera
    assert worst is not None
    assert (worst.name, worst.percentile) == ("yard-1", "p99")
    assert worst.latency_ms == pytest.approx(1521, abs=3)


def test_a_camera_that_waits_a_little_longer_is_not() -> None:
    told = Told()
    told.answers[GATEWAY].wait(np.where(told.camera == 1, 900.0, 0.0))
    told.answers[CLUSTER].wait(np.where(told.camera == 1, 1500.0, 0.0))
    assert told.summary().verdict == "VALID"


def test_when_all_are_late_none_is_starved() -> None:
    told = Told()
    told.answers[GATEWAY].wait(np.full(len(told.due_ns), 20_000.0))
    assert told.summary().tiers["gateway"].starved_cameras == 0


def test_one_camera_is_compared_with_nobody() -> None:
    told = Told(cameras=1, frames=2400, rate_hz=60)
    told.answers[GATEWAY].miss(told.after_s > 1)
    assert told.summary().tiers["gateway"].starved_cameras == 0


@pytest.mark.parametrize(("frames", "percentile"), [(600, "p99"), (100, "p90"), (20, "p50"), (5, None)])
def test_the_worst_camera_is_told_by_what_its_samples_allow(frames: int, percentile: str | None) -> None:
    worst = Told(frames=frames).summary().tiers["gateway"].worst_camera
    assert (worst and worst.percentile) == percentile


def test_a_worst_camera_that_misses_too_much_is_infinitely_late() -> None:
    told = Told()
    told.answers[GATEWAY].miss((told.camera == 3) & (told.after_s > 30))
    worst = told.summary().tiers["gateway"].worst_camera
    assert worst is not None
    assert (worst.name, worst.latency_ms) == ("yard-3", None)


# --- backlog ------------------------------------------------------------------------------------


def overloaded(told: Told, tier: Tier = CLUSTER, *, share: float = 0.8) -> Told:
    """Let a tier do less than it is offered."""
    told.answers[tier].wait(told.after_s * (1 / share - 1) * 1000)
    return told


def test_a_ledger_that_sees_results_late_is_the_cause_of_what_seems_a_backlog() -> None:
    told = Told()
    for tier in BOTH:
        told.answers[tier].moments_ns["seen"] += (told.after_s * 0.2e9).astype(np.int64)
    found = told.summary()
    assert first(found).rule == "slow ledger for gateway"
    assert first(found).found == pytest.approx(8000, rel=0.02)
    assert "growing backlog in gateway" in causes(found)["slow ledger for gateway"]
    assert told.summary(limits=Limits(ledger_ms=9000)).reasons[0].rule.startswith("growing backlog")


def test_each_hop_tells_what_travelled_it() -> None:
    hops = {(hop.start, hop.end): (hop.messages, hop.size_bytes) for hop in Told().summary().hops}
    assert list(hops) == [
        ("cameras", "MQTT broker"),
        ("MQTT broker", "bridge"),
        ("bridge", "Kafka"),
        ("MQTT broker", "gateway"),
        ("gateway", "Kafka"),
        ("Kafka", "cluster"),
        ("cluster", "Kafka"),
    ]
    assert {messages for messages, _ in hops.values()} == {2400}
    told = Told()
    told.answers[GATEWAY].miss(told.after_s > 20)
    fewer = {(hop.start, hop.end): hop.messages for hop in told.summary().hops}
    assert (fewer["gateway", "Kafka"], fewer["cluster", "Kafka"]) == (1201, 2400)


def test_right_and_on_time_is_told_for_several_deadlines() -> None:
    told = Told(accuracy=1.0)
    told.answers[GATEWAY].wait(np.where(np.arange(len(told.due_ns)) % 4 == 0, 150.0, 0.0))
    found = told.summary(deadline_ms=60).tiers["gateway"].on_time_within
    assert list(found) == ["50", "60", "100", "200", "500", "1000", "2000"]
    assert found["100"] == pytest.approx(0.75, abs=0.01)
    assert found["200"] == 1.0


def test_each_step_between_two_moments_has_its_median() -> None:
    found = Told().summary().tiers["cluster"].steps_ms
    assert found["sent to bridged"] == pytest.approx(0.3, abs=0.01)
    assert found["bridged to appended"] == pytest.approx(1.2, abs=0.01)
    assert found["appended to received"] == pytest.approx(148, rel=0.02)
    assert found["result appended to seen"] == pytest.approx(10, rel=0.05)


def test_overload_is_the_first_reason_though_all_is_answered_in_the_end() -> None:
    found = overloaded(Told()).summary()
    assert causes(found) == {"growing backlog in cluster": []}
    assert found.reasons[0].limit == pytest.approx(0.6, abs=0.01)
    line = found.tiers["cluster"].backlog
    assert line is not None
    # A fifth of the 60 frames a second is left lying.
    assert line.slope_hz == pytest.approx(12, rel=0.02)
    assert line.lower_hz < line.slope_hz < line.upper_hz


def test_what_an_overloaded_tier_does_not_answer_is_a_consequence() -> None:
    told = overloaded(Told())
    told.answers[CLUSTER].miss(told.after_s > 34)
    assert causes(told.summary()) == {"growing backlog in cluster": ["missing in cluster"]}


def test_late_cameras_beside_an_overloaded_tier_are_a_consequence() -> None:
    assert causes(late(overloaded(Told()), ms=40).summary()) == {"growing backlog in cluster": ["late generator"]}


def test_a_killed_tier_misses_frames_and_has_no_backlog() -> None:
    told = Told()
    told.answers[CLUSTER].miss(told.after_s > 20)
    assert causes(told.summary()) == {"missing in cluster": []}


def test_a_killed_bridge_is_the_cause_of_what_the_cluster_misses() -> None:
    told = Told()
    lost = told.after_s > 20
    told.answers[CLUSTER].miss(lost, Fate.UNBRIDGED)
    for index in range(told.cameras):
        account = told.collected.cameras[f"yard-{index}"]
        told.entry(account.model_copy(update={"confirmed": [(300, 599)]}))
    assert causes(told.summary()) == {Fate.UNBRIDGED: ["missing in cluster"]}


def test_steady_queues_and_short_runs_have_no_backlog() -> None:
    told = Told()
    told.answers[CLUSTER].wait(np.full(len(told.due_ns), 3000.0))
    assert told.summary().verdict == "VALID"
    short = overloaded(Told(frames=120), share=0.5).summary()
    assert (short.verdict, short.tiers["cluster"].backlog) == ("VALID", None)


def test_a_queue_that_swings_does_not_grow() -> None:
    told = Told()
    told.answers[CLUSTER].wait(400 + 400 * np.sin(told.after_s))
    assert told.summary().verdict == "VALID"


def test_the_limit_of_growth_is_the_runs() -> None:
    assert overloaded(Told()).summary(limits=Limits(backlog_share=0.25)).verdict == "VALID"


# --- clocks -------------------------------------------------------------------------------------

OF: Final = {
    "bridge": ["bridged"],
    "kafka": ["appended", "result_appended"],
    "gateway": ["received", "started", "inferred"],
    "cluster": ["received", "started", "inferred"],
    "ledger": ["seen"],
}
"""The moments by a part's clock."""


@pytest.mark.parametrize(
    ("part", "by_s"),
    [
        *(("bridge", 2.0), ("bridge", -2.0), ("kafka", 2.0), ("kafka", -2.0), ("ledger", -2.0)),
        *(("gateway", 2.0), ("gateway", -2.0), ("cluster", 2.0), ("cluster", -2.0)),
    ],
)
def test_a_shifted_clock_is_named_with_its_error(part: str, by_s: float) -> None:
    told = Told()
    for tier in BOTH:
        if part not in {one.value for one in BOTH} or part == tier.value:
            told.answers[tier].shift(*OF[part], by_s=by_s)
    reason = first(told.summary())
    assert reason.rule.startswith("impossible stage times in ")
    assert reason.found == 100
    assert f"clock of {part} is off by about " in reason.next, reason.next
    said_s = float(reason.next.split("about ")[1].split(" s ")[0])
    # What the cluster's frames wait for is in the bound, too.
    assert said_s == pytest.approx(2.0, abs=0.1)
    assert ("(ahead)" in reason.next) == (by_s > 0)


def test_a_fleet_ahead_of_all_others_is_named() -> None:
    told = Told()
    for tier in BOTH:
        told.answers[tier].shift(*(name for name in NAMES if name != "sent"), by_s=-2)
    found = told.summary()
    assert "clock of fleet is off by about 2 s (ahead)" in found.reasons[0].next
    assert [below.rule for below in found.reasons[0].consequences] == ["impossible stage times in cluster"]


def test_a_clock_that_was_set_during_the_run_is_its_own_parts() -> None:
    told = Told(tiers=[GATEWAY])
    told.due_ns += 2 * 10**9
    found = told.summary()
    assert "clock of fleet is off by about 2 s" in found.reasons[0].next


def test_a_few_impossible_frames_are_counted_and_remarked() -> None:
    told = Told()
    told.answers[GATEWAY].moments_ns["started"][:2] -= 10**9
    found = told.summary()
    assert found.verdict == "VALID"
    assert found.tiers["gateway"].impossible_steps == {"received to started": 2}
    assert [remark.rule for remark in found.remarks] == ["impossible stage times in gateway"]
    assert found.tiers["gateway"].measured == found.tiers["cluster"].measured, "none is left out"


def test_kafkas_whole_milliseconds_are_no_error() -> None:
    told = Told()
    for tier in BOTH:
        appended = told.answers[tier].moments_ns["appended"]
        appended[:] = told.answers[tier].moments_ns["bridged"] - 999_999
    assert told.summary().tiers["gateway"].impossible_steps == {}


def test_two_wrong_clocks_give_the_one_that_explains_most() -> None:
    between = {
        Step("sent_ns", "fleet", "bridged_ns", "bridge"): -5.0,
        Step("bridged_ns", "bridge", "appended_ns", "kafka"): 5.1,
        Step("appended_ns", "kafka", "received_ns", "cluster"): -0.2,
        Step("inferred_ns", "cluster", "result_appended_ns", "kafka"): 0.3,
    }
    part, off_s = clocks.culprit(between, tolerance_s=0.001)
    assert part == "bridge"
    assert off_s == pytest.approx(-5.05)


# --- models -------------------------------------------------------------------------------------


def test_different_models_are_named() -> None:
    told = Told()
    told.answers[CLUSTER].model = "resnet56@ffffffffffff"
    reason = first(told.summary())
    assert (reason.rule, reason.found) == ("different models", "resnet20@0123456789ab and resnet56@ffffffffffff")


def a_card(**checks: bool) -> Card:
    told = {
        name: Check(
            engine=name,
            identity="resnet20-int8@cafecafecafe",
            images=10_000,
            differ=20,
            beyond_ties=1,
            allowed=50,
            apart=0.1,
            correct=9_000,
            passed=passed,
        )
        for name, passed in checks.items()
    }
    return Card(
        name="resnet20",
        file_sha256="",
        weights_sha256="0123456789ab" + "0" * 52,
        parameters=1,
        correct=1,
        images=1,
        recipe={},
        epochs=[],
        trained_with={},
        checks=told,
    )


@pytest.mark.parametrize(
    ("checks", "verdict"), [({"onnx": True}, "VALID"), ({"onnx": False}, "INVALID"), ({}, "INVALID")]
)
def test_with_the_models_card_an_engine_must_have_passed(checks: dict[str, bool], verdict: str) -> None:
    told = Told()
    told.answers[CLUSTER].engine, told.answers[CLUSTER].model = "onnx", "resnet20-int8@cafecafecafe"
    found = told.summary(card=a_card(**checks))
    assert found.verdict == verdict
    if found.reasons:
        assert (found.reasons[0].rule, found.reasons[0].found) == (
            "different models",
            "cluster ran resnet20-int8@cafecafecafe with onnx, not passed",
        )


def test_a_ledger_needs_no_model_file_and_takes_one_with_a_card() -> None:
    assert card_of("") is None
    described = card_of("resnet20")
    assert described is not None
    assert described.name == "resnet20"
    with pytest.raises(ConfigError, match=r"no model at .*resnet1000"):
        card_of("resnet1000")


# --- results ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"results": 2400, "rejected": 0}, {"results lost after gateway": ["missing in gateway"]}),
        ({"results": 2300, "rejected": 100}, {"missing in gateway": []}),
        ({"results": 2300, "rejected": 0}, {"missing in gateway": []}),
        ({}, {"missing in gateway": []}),
        (None, {"missing in gateway": []}),
    ],
    ids=["answered and lost", "refused", "never answered", "it says nothing", "no account"],
)
def test_results_that_were_lost_are_told_from_those_that_never_were(
    said: dict[str, int] | None, expected: dict[str, list[str]]
) -> None:
    told = Told()
    told.answers[GATEWAY].miss(np.arange(2400) % 24 == 0)
    if said is not None:
        told.entry(Closing(run=RUN, part="gateway", name="gateway", summary=said))
    assert causes(told.summary()) == expected


def rejected(told: Told, tier: Tier, *, frames: int) -> None:
    """Let a tier refuse frames."""
    headers = (("by", tier.value.encode()), ("rule", b"codec"))
    told.collected.add([Record(topics.REJECTED, 0, 0, "", b"", headers, START_NS)] * frames, now_ns=START_NS)


@pytest.mark.parametrize(
    ("refused", "expected"),
    [
        (0, {"results lost after cluster": ["missing in cluster"]}),
        (100, {"rejected by cluster": ["missing in cluster"]}),
    ],
)
def test_a_cluster_counts_what_it_refuses_among_its_frames(refused: int, expected: dict[str, list[str]]) -> None:
    told = Told()
    told.answers[CLUSTER].miss(np.arange(2400) % 24 == 0)
    rejected(told, CLUSTER, frames=refused)
    told.entry(Closing(run=RUN, part="cluster", name="cluster", summary={"frames": 2400}))
    assert causes(told.summary()) == expected


# --- what stands under what ---------------------------------------------------------------------


def broken(rule: str, *explains: str) -> Broken:
    return Broken(Reason(rule=rule, found=1, limit=0, next=""), frozenset(explains))


def names(found: list[Reason]) -> dict[str, list[str]]:
    return {reason.rule: [below.rule for below in reason.consequences] for reason in found}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lambda: [broken("a"), broken("b")], {"a": [], "b": []}),
        (lambda: [broken("a"), broken("b", "a")], {"b": ["a"]}),
        (lambda: [broken("a", "b"), broken("b", "c"), broken("c")], {"a": ["b", "c"]}),
        (lambda: [broken("a", "b"), broken("b", "a")], {"a": ["b"]}),
        (lambda: [broken("a", "b"), broken("b", "c"), broken("c", "a")], {"a": ["b", "c"]}),
        (lambda: [broken("a", "c"), broken("b", "c"), broken("c")], {"a": ["c"], "b": []}),
        (lambda: [broken("a", "nothing")], {"a": []}),
        (list, {}),
    ],
    ids=["alone", "later cause", "chain", "each other", "round", "two causes", "not broken", "none"],
)
def test_consequences_stand_under_their_cause(
    found: Callable[[], list[Broken]], expected: dict[str, list[str]]
) -> None:
    assert names(arranged(found())) == expected


# --- correct and on time ------------------------------------------------------------------------


def test_right_and_in_time_is_a_share_of_what_was_offered() -> None:
    told = Told(frames=50)
    # A tenth is wrong everywhere; a quarter of the cluster's is late; one camera's are missing there.
    told.answers[CLUSTER].wait(np.where(told.camera == 0, 400.0, 0.0))
    told.answers[CLUSTER].miss(told.camera == 1)
    found = told.summary()
    assert found.deadline_ms == 500
    assert found.tiers["gateway"].on_time == pytest.approx(0.9)
    assert found.tiers["cluster"].on_time == pytest.approx(0.45)
    assert told.summary(deadline_ms=1000).tiers["cluster"].on_time == pytest.approx(0.675)
    assert told.summary(deadline_ms=1).tiers["cluster"].on_time == 0


def test_costs_are_of_a_thousand_right_answers() -> None:
    found = Told().summary().tiers["gateway"]
    assert (found.correct, found.per_1000_correct.cpu_s) == (2160, None)
    assert found.per_1000_correct.uplink_bytes == pytest.approx(2400 * 180 / 2160 * 1000)
    found.cost(cpu_s=21.6)
    assert (found.cpu_s, found.per_1000_correct.cpu_s) == (21.6, 10.0)


def test_intervals_stand_beside_what_they_are_of() -> None:
    told = Told()
    told.answers[CLUSTER].right[:60] = False
    found = told.summary()
    gateway, paired = found.tiers["gateway"], found.paired
    assert gateway.accuracy_interval is not None
    assert gateway.accuracy is not None
    assert gateway.accuracy_interval.low < gateway.accuracy < gateway.accuracy_interval.high
    assert paired is not None
    assert (paired.only_gateway_right, paired.only_cluster_right) == (54, 0)
    assert paired.accuracy_difference == pytest.approx(-54 / 2400)
    assert paired.accuracy_difference_interval is not None
    assert paired.accuracy_difference_interval.low < -54 / 2400 < paired.accuracy_difference_interval.high < 0
    assert paired.mcnemar_p == pytest.approx(2 * 0.5**54)
    assert paired.latency_difference_ms.p50 == pytest.approx(230, abs=5)
    assert paired.latency_difference_ms.p50_interval is not None
