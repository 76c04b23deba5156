"""Steps of a search: what a tier must keep, which runs tell nothing of it, and what the searches make of them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from rich.console import Console, RenderableType

from compare.reports.comparison import compared
from compare.scenario import Fleet, Kind, Placement, Scenario, Search
from compare.searches import capacity, crossover, sweep
from compare.searches.steps import DisturbedError, criteria, step
from edgewise.messages import Tier
from edgewise.summary import Generator, Reason, Steadiness, Summary
from models import card
from models.engine import model_file
from tests.tables import Told

ACCURACY = card.read(model_file(Scenario().model)).accuracy
GENERATOR = Generator(offered_hz=60, ceiling_hz=20_000, limit_share=0.7)
SCENARIO = Scenario(
    placement=Placement.ALTERNATE,
    deadline_ms=500,
    fleet=Fleet(cameras=4, rate_hz=15.0, duration_s=40),
    search=Search(kind=Kind.CAPACITY, accuracy_points=1.0),
)


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
    assert [name for name, held in kept(lossy).items() if not held] == ["delivered"]
    wrong = alone()
    wrong.answers[Tier.GATEWAY].right[:] = np.arange(len(wrong.due_ns)) % 5 != 0
    assert [name for name, held in kept(wrong).items() if not held] == ["accuracy from the model's own"]
    slow = growing(alone(), by=0.2)
    assert not kept(slow)["growth of the outstanding frames"]


def runs(*summaries: Summary) -> Callable[[Scenario, Tier], tuple[str, Summary]]:
    left = iter(summaries)
    return lambda _scenario, _tier: ("folder", next(left))


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
    found = capacity.searched(SCENARIO, runs(disturbed(), disturbed()), GENERATOR)
    assert (found.verdict, [reason.rule for reason in found.reasons], found.tiers) == (
        "INVALID",
        ["late generator"],
        {},
    )


def on_a_machine(summary: Summary, *, uneven_share: float) -> Summary:
    found = Steadiness(probes=100, probe_us=30, slowest=2, uneven_share=uneven_share)
    return summary.model_copy(update={"steadiness": found})


def test_a_step_that_fails_on_an_unsteady_machine_is_run_again_and_one_that_holds_is_not() -> None:
    failed, held = growing(alone(), by=0.5).summary(), alone().summary()
    told = [on_a_machine(failed, uneven_share=0.3), on_a_machine(held, uneven_share=0.3)]
    found = step(runs(*told), SCENARIO, Tier.GATEWAY)
    assert (found.sustained, found.uneven_share) == (True, 0.3)
    told = [on_a_machine(failed, uneven_share=0.3), on_a_machine(failed, uneven_share=0.02)]
    found = step(runs(*told, held), SCENARIO, Tier.GATEWAY)
    assert (found.sustained, found.uneven_share) == (False, 0.02)
    assert not step(runs(*[on_a_machine(failed, uneven_share=0.3)] * 3, held), SCENARIO, Tier.GATEWAY).sustained


def limited(limits_hz: dict[Tier, float]) -> Callable[[Scenario, Tier], tuple[str, Summary]]:
    """Give runs of tiers that fall behind beyond a rate."""

    def run(at: Scenario, tier: Tier) -> tuple[str, Summary]:
        told = Told(
            cameras=at.fleet.cameras,
            rate_hz=at.fleet.rate_hz,
            frames=round(at.fleet.rate_hz * 40),
            tiers=(tier,),
            accuracy=ACCURACY,
        )
        behind = at.fleet.cameras * at.fleet.rate_hz / limits_hz[tier] - 1
        return f"{tier}", (growing(told, by=behind) if behind > 0 else told).summary()

    return run


def shown(content: RenderableType) -> str:
    console = Console(width=120, no_color=True)
    with console.capture() as captured:
        console.print(content)
    return captured.get()


def test_a_capacity_is_said_in_a_sentence_and_each_step_in_a_row() -> None:
    found = capacity.searched(SCENARIO, limited({Tier.GATEWAY: 200, Tier.CLUSTER: 1e9}), GENERATOR)
    gateway = found.tiers["gateway"]
    assert gateway.capacity_hz is not None
    assert 190 <= gateway.capacity_hz <= 200
    assert gateway.confirmed
    said = shown(capacity.rendered(found))
    assert f"The gateway sustains {gateway.capacity_hz:,.1f} frames/s" in said
    assert "The cluster sustains at least 3,840.0 frames/s, the load of 256.0 cameras" in said
    assert said.count("growth of the outstanding frames") == sum(not one.sustained for one in gateway.steps)


def test_a_search_goes_no_further_than_the_cameras_can() -> None:
    near = Generator(offered_hz=60, ceiling_hz=1_000, limit_share=0.7)
    found = capacity.searched(SCENARIO, limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), near)
    assert [tier.capacity_hz for tier in found.tiers.values()] == [700, 700]
    assert not any(tier.bounded for tier in found.tiers.values())


def test_the_crossover_is_where_the_gateway_falls_behind() -> None:
    scenario = SCENARIO.model_copy(update={"search": Search(kind=Kind.CROSSOVER), "deadline_ms": 200})
    found = crossover.searched(scenario, limited({Tier.GATEWAY: 200, Tier.CLUSTER: 1e9}), GENERATOR)
    # 500 ms is what a summary takes for on time by itself: both are, until the gateway falls behind.
    assert (found.verdict, found.before, found.after) == ("VALID", None, Tier.CLUSTER)
    assert found.not_with_cameras is not None
    assert found.from_cameras is not None
    assert 13 <= found.not_with_cameras < found.from_cameras <= 15
    said = shown(crossover.rendered(found))
    assert f"neither tier is shown to be better for answers within 200 ms; from {found.from_cameras} on" in " ".join(
        said.split()
    )


def test_no_crossover_within_the_range_is_said() -> None:
    scenario = SCENARIO.model_copy(update={"search": Search(kind=Kind.CROSSOVER, most_times=4)})
    found = crossover.searched(scenario, limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), GENERATOR)
    assert (found.after, found.from_cameras, found.not_with_cameras) == (None, None, 16)
    assert "no crossover in that range" in crossover.said(found)


def test_loads_at_which_neither_tier_keeps_up_any_more_are_told_apart() -> None:
    scenario = SCENARIO.model_copy(update={"search": Search(kind=Kind.CROSSOVER, most_times=4)})
    found = crossover.searched(scenario, limited({Tier.GATEWAY: 1e9, Tier.CLUSTER: 1e9}), GENERATOR)
    probes = [
        probe.model_copy(update={"better": Tier.GATEWAY if probe.cameras < 16 else None}) for probe in found.probes
    ]
    told = crossover.said(found.model_copy(update={"before": Tier.GATEWAY, "probes": probes}))
    assert "From 4 to 8 cameras the gateway is the better tier" in told
    assert "; with more, up to 16, neither is shown to be: no crossover in that range." in told
    ended = crossover.searched(scenario, runs(disturbed(), disturbed()), GENERATOR)
    assert ended.verdict == "INVALID"
    assert crossover.said(ended) == "The search for answers within 500 ms did not come to its end."


def points(values: Sequence[int]) -> list[sweep.Point]:
    scenario = Scenario(placement=Placement.CLUSTER)
    return [
        sweep.Point(
            values={"cluster.trigger_ms": value},
            comparison=compared(scenario, [("folder", alone(Tier.CLUSTER).summary())]),
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
