"""One step of a search: a run of one tier at one load, and whether the tier sustained it."""

from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

from pydantic import Field

from compare.runs.ran import Ran
from compare.scenario import Scenario
from edgewise.messages import Tier
from edgewise.parts import say
from edgewise.statistics import SAMPLES_NEEDED
from edgewise.summary import Generator, Reason, Strict, Summary, TierSummary
from models import card
from models.engine import model_file

Run = Callable[[Scenario, Tier], Ran]
"""Runs a scenario with one tier."""
Asked = Callable[[Scenario], Generator]
"""Says what a scenario asks of its cameras beside what they can send."""
Keep = Callable[[Any], None]
"""Takes what a search has come to so far: should it be ended from outside, that is what is left of it."""

OVERLOAD: Final = ("growing backlog in ", "missing in ", "no results in ", "starving camera in ", "never stable")
"""Beginnings of the rules that a tier breaks which is offered too much: a step that fails, and no run that is wrong."""
CONFIRMED: Final = 2
"""Runs on an unsteady machine that must give the same answer, kept or failed, before it counts: of three, two do."""
P99: Final = "latency p99"
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
    verdict: Literal["VALID", "INVALID"] = "VALID"
    """INVALID says nothing about the tier."""
    reasons: list[Reason] = Field(default=[])
    """Why it is INVALID."""
    sustained: bool
    criteria: list[Criterion]
    window_s: float | None = None
    """How long frames were due after the warm-up."""
    uneven_share: float | None = None
    """Of the probes of the machine: what it was disturbed; None where nobody watched it."""
    attempts: int = 1
    """That it took: more than one on an unsteady machine, of which the last is the one told of here."""
    earlier: list[str] = Field(default=[])
    """Folders of runs of this step before: they told nothing, or the machine was unsteady."""

    @property
    def folders(self) -> list[str]:
        """Name the folders of all its runs, in their order."""
        return [*self.earlier, self.folder]

    def found(self, name: str) -> float | None:
        """Give what was found of a criterion; None if it was not measured."""
        return next((one.found for one in self.criteria if one.name == name), None)


class Searched(Strict):
    """What every search says first."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    deadline_ms: float
    """By when an answer is on time."""
    generator: Generator
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """What ended it early, or what repeats did not confirm."""


def titled_as(scenario: str, kind: str) -> str:
    """Name a search by its scenario and its kind; once, if they are called the same."""
    return scenario if scenario == kind else f"{scenario}, {kind}"


class DisturbedError(Exception):
    """A step that says nothing about its tier."""

    def __init__(self, step: Step) -> None:
        self.step = step
        super().__init__(f"{step.folder} is INVALID: {step.reasons[0].rule}")


def told(run: Run, scenario: Scenario, tier: Tier, *, earlier: list[str]) -> tuple[Ran, Summary]:
    """Run a step until one tells of its tier; note those that did not.

    Raises:
        DisturbedError: none of them did.
    """
    tries = 0
    while True:
        ran = run(scenario, tier)
        tries += 1
        wrong = [reason for reason in ran.reasons if not reason.rule.startswith(OVERLOAD)]
        if ran.summary is not None and not wrong:
            return ran, ran.summary
        if tries == TRIES:
            raise DisturbedError(invalid(ran, scenario, tier, wrong, earlier=earlier))
        earlier.append(ran.folder)


def invalid(ran: Ran, scenario: Scenario, tier: Tier, reasons: list[Reason], *, earlier: list[str]) -> Step:
    """Make the step of a run that says nothing about its tier."""
    return Step(
        folder=ran.folder,
        tier=tier,
        offered_hz=scenario.fleet.offered_hz,
        completed_hz=None,
        cameras=scenario.fleet.cameras,
        verdict="INVALID",
        reasons=reasons,
        sustained=False,
        criteria=[],
        earlier=list(earlier),
    )


def step(run: Run, scenario: Scenario, tier: Tier) -> Step:
    """Run a step and judge it; what an unsteady machine tells is asked again, whichever way it came out.

    Asked again only where it failed, a step would have three chances to be sustained, and a capacity
    be too high.

    Raises:
        DisturbedError: see ``told``.
    """
    answers: list[bool] = []
    earlier: list[str] = []
    while True:
        ran, summary = told(run, scenario, tier, earlier=earlier)
        found = list(criteria(summary, tier, scenario))
        sustained = all(one.held for one in found)
        if not sustained and (few := _too_few(summary.tiers[tier.value], found)):
            raise DisturbedError(invalid(ran, scenario, tier, [few], earlier=earlier))
        answers.append(sustained)
        told_twice = answers.count(sustained) == CONFIRMED
        again = ran.unsteady and not told_twice
        say(_answer(tier, scenario, found, again=again))
        if not again:
            break
        earlier.append(ran.folder)
    return Step(
        folder=ran.folder,
        tier=tier,
        offered_hz=scenario.fleet.offered_hz,
        completed_hz=summary.tiers[tier.value].throughput_hz,
        cameras=scenario.fleet.cameras,
        sustained=sustained,
        criteria=found,
        window_s=window_s(summary, scenario),
        uneven_share=None if summary.steadiness is None else summary.steadiness.uneven_share,
        attempts=len(answers),
        earlier=earlier,
    )


def window_s(summary: Summary, scenario: Scenario) -> float:
    """Say how long frames were due after the warm-up."""
    warm_up_s = 0.0 if summary.warm_up is None else summary.warm_up.lasted_s
    return round(max(0.0, scenario.fleet.duration_s - warm_up_s), 1)


def _too_few(found: TierSummary, judged: list[Criterion]) -> Reason | None:
    """Say that there were too few frames to judge by, where nothing that was measured failed."""
    needed, measured = SAMPLES_NEEDED[99], found.measured or 0
    if measured >= needed or any(not one.held and one.found is not None for one in judged):
        return None
    return Reason(
        rule="too few samples for p99",
        found=measured,
        limit=needed,
        unit="frames after the warm-up",
        next="let the steps last longer: fleet.duration_s",
    )


def _answer(tier: Tier, scenario: Scenario, found: list[Criterion], *, again: bool) -> str:
    failed = [one.name for one in found if not one.held]
    kept = "does not sustain" if failed else "sustains"
    why = f" ({', '.join(failed)})" if failed else ""
    more = "; the machine was unsteady, so it is asked again" if again else ""
    return f"the {tier} {kept} {scenario.fleet.offered_hz:,.1f} frames/s{why}{more}"


def criteria(summary: Summary, tier: Tier, scenario: Scenario) -> Iterator[Criterion]:
    """Give what a tier kept and what it did not: deliveries, losses, growth of what waits, latency, accuracy."""
    found, search = summary.tiers[tier.value], scenario.search
    yield _delivered(found, of=summary.frames.scheduled, least=search.delivered_share)
    yield Criterion(name="lost", found=found.missing, limit=0, unit="frames", held=found.missing == 0)
    yield _growth(found, most_share=scenario.limits.backlog_share)
    p99_ms = found.latency_ms.p99
    late = Criterion(
        name=P99,
        found=p99_ms,
        limit=scenario.deadline_ms,
        unit="ms",
        held=p99_ms is not None and p99_ms <= scenario.deadline_ms,
    )
    yield late
    known = card.known(model_file(scenario.model_of(tier))).card
    if known is not None and not scenario.fleet.images:  # its accuracy is of CIFAR-10's, and says nothing of others
        yield _accuracy(found, expected=known.accuracy, points=search.accuracy_points)


def _delivered(found: TierSummary, *, of: int, least: float) -> Criterion:
    share = found.results / of if of else 0.0
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
