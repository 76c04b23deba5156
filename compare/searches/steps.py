"""One step of a search: a run of one tier at one load, and whether the tier sustained it."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal

from pydantic import Field

from compare.runs.steadiness import unsteady
from compare.scenario import Scenario
from edgewise.messages import Tier
from edgewise.summary import Generator, Reason, Strict, Summary, TierSummary
from models import card
from models.engine import model_file

Run = Callable[[Scenario, Tier], tuple[str, Summary]]
"""Runs a scenario with one tier; gives the run's folder and what it came to."""

OVERLOAD: Final = ("growing backlog in ", "missing in ", "no results in ", "starving camera in ", "never stable")
"""Beginnings of the rules that a tier breaks which is offered too much: a step that fails, and no run that is wrong."""
UNSTEADY_TRIES: Final = 3
"""Of a step that fails while the machine is unsteady; the last one counts."""
TRIES: Final = 2
"""Of a step that was disturbed: cameras that were late once may be on time the next time."""


class Criterion(Strict):
    """One thing that a tier must keep to sustain a load."""

    name: str
    found: float | None
    """None was not measured, or is infinite."""
    limit: float
    unit: str
    held: bool


class Step(Strict):
    """One run of a search."""

    folder: str
    tier: Tier
    offered_hz: float
    """Frames a second of all cameras together."""
    completed_hz: float | None
    cameras: int
    sustained: bool
    criteria: list[Criterion]
    uneven_share: float | None = None
    """Of the probes of the machine: what it was disturbed; None where nobody watched it."""

    def criterion(self, name: str) -> Criterion:
        """Give one by its name."""
        return next(one for one in self.criteria if one.name == name)


class Searched(Strict):
    """What every search says first."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    deadline_ms: float
    """By when an answer is on time."""
    generator: Generator
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """Of the step that ended the search, if one did."""


class DisturbedError(Exception):
    """A step that says nothing about its tier."""

    def __init__(self, folder: str, reasons: Sequence[Reason]) -> None:
        self.folder, self.reasons = folder, list(reasons)
        super().__init__(f"{folder} is INVALID: {reasons[0].rule}")


def told(run: Run, scenario: Scenario, tier: Tier) -> tuple[str, Summary]:
    """Run a step until one tells of its tier.

    Raises:
        DisturbedError: none of them did.
    """
    tries = 0
    while True:
        folder, summary = run(scenario, tier)
        tries += 1
        wrong = [reason for reason in summary.reasons if not reason.rule.startswith(OVERLOAD)]
        if not wrong:
            return folder, summary
        if tries == TRIES:
            raise DisturbedError(folder, wrong)


def step(run: Run, scenario: Scenario, tier: Tier) -> Step:
    """Run a step and judge it.

    Raises:
        DisturbedError: see ``told``.
    """
    tries = 0
    while True:
        folder, summary = told(run, scenario, tier)
        found = list(criteria(summary, tier, scenario))
        tries += 1
        # What a slowed machine sustains, a quiet one does; what it fails says nothing.
        if all(one.held for one in found) or not unsteady(summary.steadiness) or tries == UNSTEADY_TRIES:
            break
    return Step(
        folder=folder,
        tier=tier,
        offered_hz=scenario.fleet.offered_hz,
        completed_hz=summary.tiers[tier.value].throughput_hz,
        cameras=scenario.fleet.cameras,
        sustained=all(criterion.held for criterion in found),
        criteria=found,
        uneven_share=None if summary.steadiness is None else summary.steadiness.uneven_share,
    )


def criteria(summary: Summary, tier: Tier, scenario: Scenario) -> Iterator[Criterion]:
    """Give what a tier kept and what it did not: deliveries, growth of what waits, latency, accuracy."""
    found, search = summary.tiers[tier.value], scenario.search
    yield _delivered(found, least=search.delivered_share)
    yield _growth(found, most_share=scenario.limits.backlog_share)
    p99_ms = found.latency_ms.p99
    late = Criterion(
        name="latency p99",
        found=p99_ms,
        limit=scenario.deadline_ms,
        unit="ms",
        held=p99_ms is not None and p99_ms <= scenario.deadline_ms,
    )
    yield late
    known = card.known(model_file(scenario.model)).card
    if known is not None:
        yield _accuracy(found, expected=known.accuracy, points=search.accuracy_points)


def _delivered(found: TierSummary, *, least: float) -> Criterion:
    owed = found.results + found.missing
    share = found.results / owed if owed else 0.0
    return Criterion(
        name="delivered", found=round(share * 100, 3), limit=round(least * 100, 3), unit="%", held=share >= least
    )


def _growth(found: TierSummary, *, most_share: float) -> Criterion:
    """Judge the growth of the outstanding frames: its upper bound, unless it may as well be none."""
    line = found.backlog
    limit_hz = 0.0 if line is None else most_share * line.offered_hz
    held = line is not None and (line.upper_hz <= limit_hz or line.lower_hz <= 0)
    return Criterion(
        name="growth of the outstanding frames",
        found=None if line is None else line.upper_hz,
        limit=round(limit_hz, 3),
        unit="frames/s",
        held=held,
    )


def _accuracy(found: TierSummary, *, expected: float, points: float) -> Criterion:
    """Judge the accuracy: how far the model's own lies outside the interval of the run's."""
    sure = found.accuracy_interval
    away = None if sure is None else 100 * max(sure.low - expected, expected - sure.high, 0.0)
    return Criterion(
        name="accuracy from the model's own",
        found=None if away is None else round(away, 2),
        limit=points,
        unit="points",
        held=away is not None and away <= points,
    )
