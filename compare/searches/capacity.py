"""How much each tier can do: the highest rate that it sustains, found by runs at fixed rates."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.scenario import Scenario
from compare.searches.search import CapacitySearch
from compare.searches.steps import DisturbedError, Run, Searched, Step, step
from edgewise.messages import Tier
from edgewise.show import cell, grid, titled
from edgewise.summary import Generator, Reason, Strict

HEAD: Final = ("step", "sustained", "what failed", "offered/s", "completed/s", "p99 ms")
NAME: Final = "capacity.json"


class TierCapacity(Strict):
    """What one tier can do."""

    capacity_hz: float | None
    """The highest rate of all cameras together that was sustained; None if none was."""
    cameras: float | None
    """How many cameras of the scenario's rate that is."""
    bounded: bool
    """Whether a higher rate failed; otherwise the capacity is at least that."""
    confirmed: bool
    """Whether that rate was sustained once more, and a tenth above it failed."""
    steps: list[Step]
    """In the order in which they were run."""


class Capacity(Searched):
    """A whole search: the content of ``capacity.json``."""

    tiers: dict[str, TierCapacity]


def searched(scenario: Scenario, run: Run, generator: Generator) -> Capacity:
    """Search each of the scenario's tiers, one after the other; a step that is INVALID for another cause ends it."""
    tiers: dict[str, TierCapacity] = {}
    reasons: list[Reason] = []
    try:
        for (tier,) in scenario.placement.rounds:
            tiers[tier.value] = _tier_searched(scenario, tier, run, generator)
    except DisturbedError as error:
        reasons = error.reasons
    return Capacity(
        schema=1,
        scenario=scenario.name,
        deadline_ms=scenario.deadline_ms,
        generator=generator,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        tiers=tiers,
    )


def _tier_searched(scenario: Scenario, tier: Tier, run: Run, generator: Generator) -> TierCapacity:
    steps: list[Step] = []

    def sustains(rate_hz: float) -> bool:
        steps.append(step(run, scenario.at({"fleet.rate_hz": rate_hz / scenario.fleet.cameras}), tier))
        return steps[-1].sustained

    most_hz = min(scenario.search.most_times * generator.offered_hz, generator.limit_share * generator.ceiling_hz)
    search = CapacitySearch(
        sustains, start_hz=generator.offered_hz, most_hz=most_hz, within=scenario.search.within_share
    )
    found = search.run()
    rate_hz = None if found.rate_hz is None else round(found.rate_hz, 2)
    return TierCapacity(
        capacity_hz=rate_hz,
        cameras=None if rate_hz is None else round(rate_hz / scenario.fleet.rate_hz, 1),
        bounded=found.bounded,
        confirmed=found.confirmed,
        steps=steps,
    )


def rendered(found: Capacity) -> RenderableType:
    """Lay a search out for the terminal: the verdict, each tier's capacity in a sentence, and its steps."""
    head = report.verdict(found.verdict, f"{found.scenario}, capacity")
    parts = [part for name, tier in found.tiers.items() for part in _tier(name, tier, found)]
    return Group(head, *report.reasons(found.reasons), *parts)


def said(name: str, found: TierCapacity, *, deadline_ms: float) -> str:
    """Say a tier's capacity in a sentence."""
    if found.capacity_hz is None:
        return f"The {name} sustained none of the rates that were tried."
    least = "" if found.bounded else "at least "
    sure = "" if found.confirmed or not found.bounded else " (not confirmed: repeats told otherwise)"
    return (
        f"The {name} sustains {least}{found.capacity_hz:,.1f} frames/s, the load of {found.cameras:,.1f} cameras, "
        f"with 99 % of the answers within {deadline_ms:g} ms{sure}."
    )


def _tier(name: str, found: TierCapacity, whole: Capacity) -> Iterator[RenderableType]:
    yield from (Text(), Text(said(name, found, deadline_ms=whole.deadline_ms)))
    table = grid("step", "sustained", "what failed", numbers=HEAD[3:])
    for row in rows(found):
        table.add_row(*row)
    yield from titled(f"Steps of the {name}", table)


def rows(found: TierCapacity) -> Iterator[tuple[str, ...]]:
    """Give each step, as written."""
    for number, one in enumerate(found.steps, start=1):
        failed = ", ".join(criterion.name for criterion in one.criteria if not criterion.held)
        numbers = (cell(one.offered_hz), cell(one.completed_hz), cell(one.criterion("latency p99").found))
        yield str(number), "yes" if one.sustained else "no", failed or "-", *numbers
