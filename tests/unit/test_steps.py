"""Steps of a search: what a tier must keep, which runs tell nothing of it, and what the searches make of them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console, RenderableType

from compare import scenario as scenarios
from compare.reports.comparison import compared
from compare.runs import ceiling
from compare.runs.ran import Ran, death
from compare.scenario import Fleet, Kind, Placement, Scenario, Search
from compare.searches import capacity, crossover, pairs, sweep
from compare.searches.steps import Asked, DisturbedError, Run, criteria, step
from edgewise.errors import PartDiedError, UnreachableError
from edgewise.messages import Tier
from edgewise.summary import Generator, Reason, Steadiness, Summary
from models import card
from models.engine import model_file
from tests.tables import Told

ACCURACY = card.read(model_file(Scenario().model)).accuracy
SCENARIO = Scenario(
    placement=Placement.ALTERNATE,
    deadline_ms=500,
    fleet=Fleet(cameras=4, rate_hz=15.0, duration_s=40),
    search=Search(kind=Kind.CAPACITY, accuracy_points=1.0),
)
GATEWAY_ALONE = SCENARIO.model_copy(update={"placement": Placement.GATEWAY})


def kept(told: Told, scenario: Scenario = SCENARIO) -> dict[str, bool]:
    (tier,) = told.tiers
    return {one.name: one.held for one in criteria(told.summary(), tier, scenario)}


def growing(told: Told, *, by: float) -> Told:
    """Let answers come later and later, by so many seconds a second."""
    (tier,) = told.tiers
    told.answers[tier].wait(told.after_s * by * 1000)
    return told


def alone(tier: Tier = Tier.GATEWAY) -> Told:
    return Told(tiers=(tier,), accuracy=ACCURACY)


def test_a_tier_that_keeps_everything_sustains() -> None:
    assert kept(alone()) == {
        "delivered": True,
        "lost": True,
        "growth of the outstanding frames": True,
        "latency p99": True,
        "accuracy from the model's own": True,
    }


def test_each_criterion_fails_by_itself() -> None:
    late = alone()
    late.answers[Tier.GATEWAY].wait(np.full(len(late.due_ns), 600.0))
    assert [name for name, held in kept(late).items() if not held] == ["latency p99"]
    lossy = alone()
    lossy.answers[Tier.GATEWAY].miss(np.arange(len(lossy.due_ns)) % 400 == 0)
    assert [name for name, held in kept(lossy).items() if not held] == ["delivered", "lost"]
    one = alone()
    one.answers[Tier.GATEWAY].miss(np.arange(len(one.due_ns)) == 1000)
    assert [name for name, held in kept(one).items() if not held] == ["lost"]
    wrong = alone()
    wrong.answers[Tier.GATEWAY].right[:] = np.arange(len(wrong.due_ns)) % 5 != 0
    assert [name for name, held in kept(wrong).items() if not held] == ["accuracy from the model's own"]
    slow = growing(alone(), by=0.2)
    assert not kept(slow)["growth of the outstanding frames"]


def runs(*summaries: Summary) -> Run:
    left = iter(summaries)
    return lambda _, tier: Ran("folder", (tier.value,), next(left))


def disturbed() -> Summary:
    late = Reason(rule="late generator", found=80.0, limit=5.0, unit="ms", next="lower the rate")
    return alone().summary().model_copy(update={"verdict": "INVALID", "reasons": [late]})


def test_an_overloaded_run_is_a_step_that_failed() -> None:
    found = step(runs(growing(alone(), by=0.5).summary()), SCENARIO, Tier.GATEWAY)
    assert not found.sustained
    assert (found.offered_hz, found.cameras, found.folder) == (60, 4, "folder")


def test_a_disturbed_run_is_run_again_and_ends_the_search_the_second_time() -> None:
    assert step(runs(disturbed(), alone().summary()), SCENARIO, Tier.GATEWAY).sustained
    with pytest.raises(DisturbedError, match="folder is INVALID: late generator"):
        step(runs(disturbed(), disturbed()), SCENARIO, Tier.GATEWAY)


def test_whatever_ends_a_search_its_steps_are_kept_and_what_ended_it() -> None:
    kept: list[str] = []
    steps_told = [alone().summary(), alone().summary(), disturbed(), disturbed()]
    found = capacity.searched(
        SCENARIO, runs(*steps_told), asks(), lambda so_far: kept.append(so_far.model_dump_json(by_alias=True))
    )
    assert (found.verdict, [reason.rule for reason in found.reasons]) == ("INVALID", ["late generator"])
    gateway = found.tiers["gateway"]
    assert [(one.offered_hz, one.verdict, one.sustained) for one in gateway.steps] == [
        (60, "VALID", True),
        (120, "VALID", True),
        (240, "INVALID", False),
    ]
    assert (gateway.finished, gateway.capacity_hz, gateway.steps[-1].folders) == (False, None, ["folder", "folder"])
    assert "The search of the gateway did not come to its end: 3 steps." in shown(capacity.rendered(found))
    so_far = capacity.Capacity.model_validate_json(kept[1])
    assert (so_far.verdict, so_far.reasons[0].rule) == ("INVALID", "not finished")
    assert len(so_far.tiers["gateway"].steps) == 2, "what is left if nobody can say any more what ended it"


def died() -> Ran:
    reason = death(PartDiedError("ledger", code=-9, log="logs/ledger.log", last_words=["its last words"]))
    return Ran("folder", ("gateway",), None, reason)


def test_a_part_that_died_without_a_summary_is_an_invalid_step() -> None:
    left = iter([alone().ran(), died(), died()])
    found = capacity.searched(SCENARIO, lambda *_: next(left), asks())
    last = found.tiers["gateway"].steps[-1]
    assert (last.verdict, [one.rule for one in last.reasons], len(last.folders)) == ("INVALID", ["ledger died"], 2)
    assert [one.rule for one in found.reasons] == ["ledger died"]


def test_what_cannot_be_run_at_all_ends_a_search_and_takes_nothing_from_it() -> None:
    def run(at: Scenario, _: Tier) -> Ran:
        if at.fleet.offered_hz > 100:
            raise UnreachableError("Kafka", at="localhost:9092", hint="start it with: edgewise up")
        return alone().ran()

    found = capacity.searched(SCENARIO, run, asks())
    assert [one.rule for one in found.reasons] == ["ended early"]
    assert "Kafka does not answer" in str(found.reasons[0].found)
    assert len(found.tiers["gateway"].steps) == 1
    half = crossover.searched(crossing(), lambda at, tier: run(at, tier) if tier is Tier.GATEWAY else died(), asks())
    assert (half.verdict, half.disturbed and half.disturbed.tier) == ("INVALID", Tier.CLUSTER)
    assert half.runs == ["folder"] * 3, "the gateway's, and two of the cluster's"


def on_a_machine(summary: Summary, *, uneven_share: float) -> Summary:
    found = Steadiness(probes=100, probe_us=30, slowest=2, uneven_share=uneven_share)
    return summary.model_copy(update={"steadiness": found})


@pytest.mark.parametrize("first", [False, True])
def test_what_an_unsteady_machine_tells_counts_when_it_is_told_twice(first: bool) -> None:  # noqa: FBT001 - a value
    told = {True: alone().summary(), False: growing(alone(), by=0.5).summary()}
    uneven = {held: on_a_machine(summary, uneven_share=0.3) for held, summary in told.items()}
    twice = step(runs(uneven[first], uneven[first]), SCENARIO, Tier.GATEWAY)
    assert (twice.sustained, twice.attempts, twice.uneven_share) == (first, 2, 0.3)
    of_three = step(runs(uneven[first], uneven[not first], uneven[first]), SCENARIO, Tier.GATEWAY)
    assert (of_three.sustained, of_three.attempts) == (first, 3)


@pytest.mark.parametrize("held", [False, True])
def test_what_a_steady_machine_tells_counts_at_once(held: bool) -> None:  # noqa: FBT001 - a value
    told = {True: alone().summary(), False: growing(alone(), by=0.5).summary()}
    steady = {one: on_a_machine(summary, uneven_share=0.02) for one, summary in told.items()}
    once = step(runs(steady[held]), SCENARIO, Tier.GATEWAY)
    assert (once.sustained, once.attempts, once.uneven_share) == (held, 1, 0.02)
    after = step(runs(on_a_machine(told[not held], uneven_share=0.3), steady[held]), SCENARIO, Tier.GATEWAY)
    assert (after.sustained, after.attempts, after.uneven_share) == (held, 2, 0.02)


def asks(ceiling_hz: float = 20_000) -> Asked:
    """Say what a scenario asks of cameras that can send so much."""
    return lambda scenario: ceiling.asked(scenario.fleet, ceiling_hz=ceiling_hz)


def limited(limits_hz: dict[Tier, float]) -> Run:
    """Give runs of tiers that fall behind beyond a rate."""

    def run(at: Scenario, tier: Tier) -> Ran:
        told = Told(
            cameras=at.fleet.cameras,
            rate_hz=at.fleet.rate_hz,
            frames=round(at.fleet.rate_hz * at.fleet.duration_s),
            tiers=(tier,),
            accuracy=ACCURACY,
        )
        behind = at.fleet.cameras * at.fleet.rate_hz / limits_hz[tier] - 1
        return (growing(told, by=behind) if behind > 0 else told).ran(f"{tier}")

    return run


def shown(content: RenderableType) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def test_a_capacity_is_said_in_a_sentence_and_each_step_in_a_row() -> None:
    found = capacity.searched(SCENARIO, limited({Tier.GATEWAY: 200, Tier.CLUSTER: 1e9}), asks())
    gateway = found.tiers["gateway"]
    assert gateway.capacity_hz is not None
    assert 190 <= gateway.capacity_hz <= 200
    assert gateway.confirmed
    said = shown(capacity.rendered(found))
    assert f"The gateway sustains {gateway.capacity_hz:,.1f} frames/s" in said
    assert "The cluster sustains at least 3,840.0 frames/s, the load of 256.0 cameras" in said
    assert said.count("growth of the outstanding frames") == sum(not one.sustained for one in gateway.steps)


def test_a_capacity_that_is_not_confirmed_is_not_valid() -> None:
    seen: set[float] = set()

    def run(at: Scenario, tier: Tier) -> Ran:
        again = at.fleet.offered_hz in seen  # what was sustained once is not sustained again
        seen.add(at.fleet.offered_hz)
        return limited({tier: 1.0 if again else 200.0})(at, tier)

    found = capacity.searched(GATEWAY_ALONE, run, asks())
    assert found.verdict == "INVALID"
    assert [one.rule for one in found.reasons] == ["capacity of the gateway not confirmed"]
    assert "(not confirmed: repeats told otherwise)" in capacity.said(
        "gateway", found.tiers["gateway"], deadline_ms=500
    )


def test_a_capacity_says_over_how_long_it_was_judged() -> None:
    short = capacity.searched(GATEWAY_ALONE, limited({Tier.GATEWAY: 200}), asks())
    assert short.tiers["gateway"].window_s == 30
    assert "judged over at least 30 s after the warm-up, short windows: a capacity" in " ".join(
        shown(capacity.rendered(short)).split()
    )
    scenario = scenarios.read("capacity", sets=["placement=gateway", "search.accuracy_points=100"])
    long = capacity.searched(scenario, limited({Tier.GATEWAY: 150}), asks())
    judged_s = long.tiers["gateway"].window_s
    assert judged_s is not None
    assert judged_s >= capacity.WINDOW_S, "the shipped scenario is long enough for a claim"
    assert "short windows" not in shown(capacity.rendered(long))


def test_low_rates_last_until_p99_can_be_told() -> None:
    found = capacity.searched(GATEWAY_ALONE, limited({Tier.GATEWAY: 6}), asks())
    gateway = found.tiers["gateway"]
    assert (found.verdict, gateway.confirmed) == ("VALID", True)
    assert gateway.capacity_hz == pytest.approx(6, rel=0.06)
    nothing = capacity.searched(GATEWAY_ALONE, limited({Tier.GATEWAY: 0.01}), asks())
    assert (nothing.verdict, nothing.tiers["gateway"].capacity_hz) == ("INVALID", None)
    (reason,) = nothing.reasons
    assert (reason.rule, reason.found) == ("no rate sustained by the gateway", 3.75)
    assert "below 1.91 frames/s a step of 600 s has too few samples for p99" in reason.next


def test_a_step_with_too_few_samples_says_so_and_is_no_failure_of_the_tier() -> None:
    few = Told(tiers=(Tier.GATEWAY,), accuracy=ACCURACY, frames=100)
    assert few.summary().tiers["gateway"].latency_ms.p99 is None
    with pytest.raises(DisturbedError, match="too few samples for p99") as caught:
        step(runs(few.summary()), SCENARIO, Tier.GATEWAY)
    (reason,) = caught.value.step.reasons
    assert (reason.limit, reason.unit) == (459, "frames after the warm-up")


def test_bursts_are_searched_up_to_the_rate_whose_peak_the_cameras_can_send() -> None:
    fleet = Fleet(cameras=4, rate_hz=15.0, duration_s=40, arrival="burst:on_s=1,off_s=4")
    scenario = GATEWAY_ALONE.model_copy(update={"fleet": fleet})
    found = capacity.searched(scenario, limited({Tier.GATEWAY: 1e9}), asks(1_000))
    assert found.tiers["gateway"].capacity_hz == 140


def test_a_search_goes_no_further_than_the_cameras_can() -> None:
    found = capacity.searched(SCENARIO, limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), asks(1_000))
    assert [tier.capacity_hz for tier in found.tiers.values()] == [700, 700]
    assert not any(tier.bounded for tier in found.tiers.values())


def crossing(**how: float) -> Scenario:
    search = Search(kind=Kind.CROSSOVER, **{"most_times": 4, **how})
    return SCENARIO.model_copy(update={"search": search})


def test_the_crossover_is_where_the_gateway_falls_behind() -> None:
    found = crossover.searched(crossing(), limited({Tier.GATEWAY: 200, Tier.CLUSTER: 1e9}), asks())
    # Both are on time until the gateway falls behind.
    assert (found.verdict, found.before, found.after, found.confirmed) == ("VALID", None, Tier.CLUSTER, True)
    assert (found.not_with_cameras, found.from_cameras) == (13, 14)
    said = " ".join(shown(crossover.rendered(found)).split())
    assert "With 4 cameras neither tier is shown to be better for answers within 500 ms; from 14 on it is the" in said
    repeats = {probe.cameras: {len(one.folders) for one in probe.tiers.values()} for probe in found.probes}
    assert repeats == {4: {1}, 8: {1}, 12: {1}, 13: {3}, 14: {3}, 16: {1}}


def test_the_shares_of_a_probe_are_of_the_frames_after_both_warm_ups() -> None:
    def run(at: Scenario, tier: Tier) -> Ran:
        told = Told(tiers=(tier,), accuracy=ACCURACY)
        if tier is Tier.CLUSTER:  # cold for ten seconds: late, and none of it counts
            told.answers[tier].wait(np.maximum(0, 10 - told.after_s) * 400)
        return told.ran(deadline_ms=at.deadline_ms)

    found = crossover.searched(crossing(most_times=1), run, asks())
    gateway, cluster = (found.probes[0].tiers[tier.value] for tier in Tier)
    assert gateway.frames == cluster.frames
    assert gateway.frames is not None
    assert gateway.frames < 0.8 * 2400
    assert gateway.share == cluster.share
    assert (found.before, found.after) == (None, None)


def test_frames_that_are_late_together_are_no_proof_that_a_tier_is_better() -> None:
    # Some hundred frames of one queue: as many by chance, one by one, would be a difference.
    queue = pairs.pair({tier: one_queue(tier).ran() for tier in Tier}, deadline_ms=500)
    assert queue.sides[Tier.GATEWAY].share > queue.sides[Tier.CLUSTER].share + 0.05
    assert pairs.judged([queue], SCENARIO).better is None


def one_queue(tier: Tier) -> Told:
    told = alone(tier)
    if tier is Tier.CLUSTER:
        told.answers[tier].wait(np.where((told.after_s > 20) & (told.after_s < 23), 1000.0, 0.0))
    return told


def test_an_unsteady_machine_is_asked_until_two_pairs_say_the_same() -> None:
    def run(at: Scenario, tier: Tier) -> Ran:
        asked.append(tier)
        ran = limited({Tier.GATEWAY: 200, Tier.CLUSTER: 1e9})(at, tier)
        assert ran.summary is not None
        return replace(ran, summary=on_a_machine(ran.summary, uneven_share=0.3))

    asked: list[Tier] = []
    found = crossover.searched(crossing(most_times=1), run, asks())
    assert asked == [Tier.GATEWAY, Tier.CLUSTER, Tier.CLUSTER, Tier.GATEWAY], "in turning order"
    assert found.probes[0].better is None


def test_tiers_with_different_models_have_no_crossover() -> None:
    def run(at: Scenario, tier: Tier) -> Ran:
        told = alone(tier)
        told.answers[tier].model = f"{tier}@0123456789ab"
        return told.ran(deadline_ms=at.deadline_ms)

    found = crossover.searched(crossing(), run, asks())
    assert (found.verdict, [one.rule for one in found.reasons]) == ("INVALID", ["different models"])


def test_a_search_goes_as_far_as_so_many_cameras_can_send() -> None:
    def asked(at: Scenario) -> Generator:
        return ceiling.asked(at.fleet, ceiling_hz=10_000 / at.fleet.cameras)  # more cameras send less together

    found = crossover.searched(crossing(most_times=16), limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), asked)
    assert max(probe.cameras for probe in found.probes) == 7


def test_no_crossover_within_the_range_is_said() -> None:
    found = crossover.searched(crossing(), limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), asks())
    assert (found.after, found.from_cameras, found.not_with_cameras) == (None, None, 16)
    assert "no crossover in that range" in crossover.said(found)


def test_loads_at_which_neither_tier_keeps_up_any_more_are_told_apart() -> None:
    found = crossover.searched(crossing(), limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), asks())
    probes = [
        probe.model_copy(update={"better": Tier.GATEWAY if probe.cameras < 16 else None}) for probe in found.probes
    ]
    told = crossover.said(found.model_copy(update={"before": Tier.GATEWAY, "probes": probes}))
    assert "From 4 to 8 cameras the gateway is the better tier" in told
    assert "; with more, up to 16, neither is shown to be: no crossover in that range." in told
    ended = crossover.searched(crossing(), runs(disturbed(), disturbed()), asks())
    assert ended.verdict == "INVALID"
    assert crossover.said(ended).startswith("The search for answers within 500 ms did not come to an answer: 0 numbers")


def points(values: Sequence[int]) -> list[sweep.Point]:
    scenario = Scenario(placement=Placement.CLUSTER)
    return [
        sweep.Point(
            values={"cluster.trigger_ms": value},
            comparison=compared(scenario, [alone(Tier.CLUSTER).ran()]),
        )
        for value in values
    ]


def test_a_sweep_has_a_row_for_each_point() -> None:
    found = sweep.put_together("micro-batch", points([50, 100]))
    assert found.verdict == "VALID"
    said = shown(sweep.rendered(found))
    assert " VALID   micro-batch, 2 points" in said
    assert [line.split()[:3] for line in said.splitlines() if line.startswith(("50", "100"))] == [
        ["50", "cluster", "VALID"],
        ["100", "cluster", "VALID"],
    ]


def test_one_invalid_run_makes_a_sweep_invalid() -> None:
    bad = points([50])
    bad[0].comparison.verdict = "INVALID"
    bad[0].comparison.reasons.append(disturbed().reasons[0])
    found = sweep.put_together("micro-batch", [*bad, *points([100])])
    assert (found.verdict, found.reasons[0].rule) == ("INVALID", "late generator")
