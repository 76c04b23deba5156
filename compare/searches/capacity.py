"""How much each tier can do: the highest rate that it sustains, found by runs at fixed rates."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.runs import ceiling
from compare.runs.ran import UNFINISHED, ended_by
from compare.scenario import Scenario
from compare.searches import search
from compare.searches.search import ABOVE, CapacitySearch
from compare.searches.steps import P99, Asked, DisturbedError, Keep, Run, Searched, Step, step, titled_as
from edgewise.errors import EdgewiseError
from edgewise.messages import Tier
from edgewise.show import cell, grid, titled
from edgewise.statistics import SAMPLES_NEEDED
from edgewise.summary import Reason, Strict

HEAD: Final = ("step", "sustained", "what failed", "offered/s", "completed/s", "p99 ms", "window s")
NAME: Final = "capacity.json"
WINDOW_S: Final = 60.0
"""After the warm-up: what is judged over less is said to be."""
LONGEST_S: Final = 600.0
"""Of a step at a low rate, which lasts until there are frames enough for p99."""
FRAMES_LEAST: Final = 2.5 * SAMPLES_NEEDED[99]
"""Of a step at a low rate: up to half of the schedule is warm-up, by chance with more than half of the frames."""


class TierCapacity(Strict):
    """What one tier can do."""

    capacity_hz: float | None
    """The highest rate of all cameras together that was sustained; None if none was."""
    cameras: float | None
    """How many cameras of the scenario's rate that is."""
    bounded: bool
    """Whether a tenth above it failed, or no rate was sustained; otherwise the capacity is at least that."""
    confirmed: bool
    """Whether that rate was sustained once more and, if it is bounded, a tenth above it failed."""
    window_s: float | None = None
    """The shortest that it was judged over, after the warm-up; None if none was sustained."""
    finished: bool = True
    """Whether the search of this tier came to its end."""
    steps: list[Step]
    """In the order in which they were run."""


class Capacity(Searched):
    """A whole search: the content of ``capacity.json``."""

    tiers: dict[str, TierCapacity]


def searched(scenario: Scenario, run: Run, asked: Asked, keep: Keep = lambda _: None) -> Capacity:
    """Search each of the scenario's tiers, one after the other; whatever ends it, its steps are in what is given.

    Args:
        scenario: where to begin, and what to keep to.
        run: runs a step.
        asked: what a scenario asks of its cameras beside what they can send.
        keep: takes what is found so far, step by step.
    """
    generator = asked(scenario)
    whole = Capacity(
        schema=1,
        scenario=scenario.name,
        deadline_ms=scenario.deadline_ms,
        generator=generator,
        verdict="INVALID",
        reasons=[UNFINISHED],
        tiers={},
    )
    try:
        for (tier,) in scenario.placement.rounds:
            _tier_searched(scenario, tier, run, whole, keep)
    except DisturbedError as error:
        whole.reasons = error.step.reasons
    except EdgewiseError as error:
        whole.reasons = [ended_by(error)]
    else:
        whole.reasons = [
            reason
            for name, tier in whole.tiers.items()
            for reason in _in_doubt(name, tier, least_hz=_least_hz(scenario))
        ]
    whole.verdict = "INVALID" if whole.reasons else "VALID"
    return whole


def _least_hz(scenario: Scenario) -> float:
    """Give the lowest rate at which the longest step has the frames that p99 needs."""
    return FRAMES_LEAST / max(LONGEST_S, scenario.fleet.duration_s)


def _step_at(scenario: Scenario, rate_hz: float) -> Scenario:
    """Give the scenario at a rate of all cameras together; a low one lasts longer, so that p99 can be told."""
    fleet = scenario.fleet
    enough = fleet.duration_s * rate_hz >= 2 * SAMPLES_NEEDED[99]
    lasts_s = fleet.duration_s if enough else max(fleet.duration_s, math.ceil(FRAMES_LEAST / rate_hz))
    return scenario.at({"fleet.rate_hz": rate_hz / fleet.cameras, "fleet.duration_s": lasts_s})


def _tier_searched(scenario: Scenario, tier: Tier, run: Run, whole: Capacity, keep: Keep) -> None:
    """Search one tier; its steps stand in the whole from the first on."""
    whole.tiers[tier.value] = TierCapacity(
        capacity_hz=None, cameras=None, bounded=False, confirmed=False, finished=False, steps=[]
    )
    steps, generator = whole.tiers[tier.value].steps, whole.generator

    def sustains(rate_hz: float) -> bool:
        try:
            steps.append(step(run, _step_at(scenario, rate_hz), tier))
        except DisturbedError as error:
            steps.append(error.step)
            raise
        keep(whole)
        return steps[-1].sustained

    # Rounded down: what is offered is told to the thousandth, and must not be more than may be asked.
    most_hz = (
        math.floor(1000 * min(scenario.search.most_times * generator.offered_hz, ceiling.most_hz(generator))) / 1000
    )
    found = CapacitySearch(
        sustains,
        start_hz=generator.offered_hz,
        most_hz=most_hz,
        least_hz=_least_hz(scenario),
        within=scenario.search.within_share,
    ).run()
    whole.tiers[tier.value] = _told(found, steps, each_hz=scenario.fleet.rate_hz)
    keep(whole)


def _told(found: search.Capacity, steps: list[Step], *, each_hz: float) -> TierCapacity:
    rate_hz = None if found.rate_hz is None else round(found.rate_hz, 2)
    at_hz = [] if found.rate_hz is None else [found.rate_hz, found.rate_hz * ABOVE]
    judged_s = [
        one.window_s
        for one in steps
        if one.window_s is not None and any(math.isclose(one.offered_hz, hz, abs_tol=0.002) for hz in at_hz)
    ]
    return TierCapacity(
        capacity_hz=rate_hz,
        cameras=None if rate_hz is None else round(rate_hz / each_hz, 1),
        bounded=found.bounded,
        confirmed=found.confirmed,
        window_s=min(judged_s, default=None),
        steps=steps,
    )


def _in_doubt(name: str, found: TierCapacity, *, least_hz: float) -> Iterator[Reason]:
    """Say why what was found of a tier is no capacity."""
    if found.capacity_hz is None:
        lowest_hz = min(step.offered_hz for step in found.steps)
        few = f"; below {least_hz:,.2f} frames/s a step of {LONGEST_S:g} s has too few samples for p99"
        yield Reason(
            rule=f"no rate sustained by the {name}",
            found=lowest_hz,
            limit="sustained",
            unit="frames/s, the lowest tried",
            next=f"see what failed in its steps{few if lowest_hz / 2 < least_hz else ''}",
        )
    elif not found.confirmed:
        yield Reason(
            rule=f"capacity of the {name} not confirmed",
            found=f"{search.CONFIRMATIONS} tries told otherwise than the steps before them",
            limit="sustained again, and a tenth above not",
            next="the machine or the tier is too uneven: search again in a quieter hour, or with longer steps",
        )


def rendered(found: Capacity) -> RenderableType:
    """Lay a search out for the terminal: the verdict, each tier's capacity in a sentence, and its steps."""
    head = report.verdict(found.verdict, titled_as(found.scenario, "capacity"))
    parts = [part for name, tier in found.tiers.items() for part in _tier(name, tier, found)]
    return Group(head, *report.reasons(found.reasons), *parts)


def said(name: str, found: TierCapacity, *, deadline_ms: float) -> str:
    """Say a tier's capacity in a sentence, and over how long a window it was judged."""
    if not found.finished:
        return f"The search of the {name} did not come to its end: {len(found.steps)} steps."
    if found.capacity_hz is None:
        return f"The {name} sustained none of the rates that were tried."
    least = "" if found.bounded else "at least "
    sure = "" if found.confirmed else " (not confirmed: repeats told otherwise)"
    return (
        f"The {name} sustains {least}{found.capacity_hz:,.1f} frames/s, the load of {found.cameras:,.1f} cameras, "
        f"with 99 % of the answers within {deadline_ms:g} ms{sure}{_window(found.window_s)}."
    )


def _window(judged_s: float | None) -> str:
    if judged_s is None:
        return ""
    short = f", short windows: a capacity is judged over {WINDOW_S:g} s" if judged_s < WINDOW_S else ""
    return f"; judged over at least {judged_s:,.0f} s after the warm-up{short}"


def _tier(name: str, found: TierCapacity, whole: Capacity) -> Iterator[RenderableType]:
    yield from (Text(), Text(said(name, found, deadline_ms=whole.deadline_ms)))
    table = grid("step", "sustained", "what failed", numbers=HEAD[3:])
    for row in rows(found.steps):
        table.add_row(*row)
    yield from titled(f"Steps of the {name}", table)


def rows(steps: Sequence[Step]) -> Iterator[tuple[str, ...]]:
    """Give each step, as written."""
    for number, one in enumerate(steps, start=1):
        failed = [criterion.name for criterion in one.criteria if not criterion.held]
        failed += [reason.rule for reason in one.reasons]
        sustained = "INVALID" if one.verdict == "INVALID" else "yes" if one.sustained else "no"
        numbers = (cell(one.offered_hz), cell(one.completed_hz), cell(one.found(P99)), cell(one.window_s))
        yield str(number), sustained, ", ".join(failed) or "-", *numbers
