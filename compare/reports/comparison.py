"""What several runs of one scenario say together: each figure's median and range, and whether one tier wins it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from compare.reports import one_model, tiers_paired
from compare.reports.headlines import ACCURACY, FIGURES, ON_TIME, Headline
from compare.reports.spread import Spread, spread
from compare.reports.tiers_paired import Found, Paired
from compare.runs.ran import Ran
from compare.scenario import Placement, Scenario
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from edgewise.show import NOT_MEASURED
from edgewise.statistics import Interval, overlap
from edgewise.summary import Reason, Strict

REPEATS_NEEDED: Final = 3
"""Before a difference may be called a win."""
OF_FRAMES: Final = (ACCURACY, ON_TIME)
"""Figures that repeats of one schedule tell alike: their frames decide, too."""
NAME: Final = "comparison.json"


class Run(Strict):
    """One run of the scenario."""

    folder: str
    """Its own, inside the comparison's."""
    tiers: list[str]
    verdict: Literal["VALID", "INVALID"]
    unsteady: bool = False
    """Whether something else slowed the machine's cores meanwhile."""


class Figure(Strict):
    """One figure of both tiers."""

    name: str
    unit: str
    tiers: dict[str, Spread]
    better: Literal["gateway", "cluster"] | None
    """None where repeats or frames show no difference, or where the runs may not say."""


class Comparison(Strict):
    """All runs of one scenario: the content of ``comparison.json``."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    placement: Placement
    repeats: int
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """What ended it early, or is not the same in all runs; otherwise those of the first INVALID run."""
    no_winner: str | None
    """Why no tier is called the better one, whatever the figures."""
    runs: list[Run]
    from_s: float | None = None
    """Latencies and *right and on time* are of the frames due from then on: the longest warm-up of the runs."""
    figures: list[Figure]
    paired: Paired | None = None
    """Both tiers on the same frames; None with one tier, in a split, or of INVALID runs."""


def compared(scenario: Scenario, runs: Sequence[Ran], *, ended: Reason | None = None) -> Comparison:
    """Put runs together.

    Args:
        scenario: that they are runs of.
        runs: all there are, in their order.
        ended: what ended them before the last, if something did.
    """
    invalid = [one for one in runs if one.verdict == "INVALID"]
    reasons = [ended] if ended else list(one_model.different(scenario, runs))
    found = None
    if not invalid and not reasons:
        split = scenario.placement is Placement.SPLIT
        found = tiers_paired.find(runs, deadline_ms=scenario.deadline_ms, split=split)
        reasons = [] if found is None or found.same else [_other_frames(scenario)]
    why = _no_winner(scenario, reasons, invalid=len(invalid))
    return Comparison(
        schema=1,
        scenario=scenario.name,
        placement=scenario.placement,
        repeats=scenario.repeats,
        verdict="INVALID" if invalid or reasons else "VALID",
        reasons=[*reasons, *(invalid[0].reasons if invalid else [])],
        no_winner=why,
        runs=[
            Run(folder=one.folder, tiers=list(one.tiers), verdict=one.verdict, unsteady=one.unsteady) for one in runs
        ],
        from_s=None if found is None else found.from_s,
        figures=[_figure(one, runs, found, decide=why is None) for one in FIGURES],
        paired=None if found is None else found.paired,
    )


def _other_frames(scenario: Scenario) -> Reason:
    return Reason(
        rule="different frames",
        found="frames.parquet of the runs differ in cameras, moments or images",
        limit="the same schedule",
        next=f"leave what fleet.arrival = {scenario.fleet.arrival!r} reads as it is until the last run has ended",
    )


def _no_winner(scenario: Scenario, reasons: Sequence[Reason], *, invalid: int) -> str | None:
    gateway, cluster = set(scenario.gateway.cores), set(scenario.cluster.cores)
    if reasons:
        return reasons[0].rule
    if invalid:
        return _of_invalid(invalid)
    if scenario.placement in {Placement.GATEWAY, Placement.CLUSTER}:
        return "one tier alone"
    together = scenario.placement in {Placement.BOTH, Placement.SPLIT}
    if together and not (gateway and cluster and not gateway & cluster):
        return (
            "co-located: the tiers shared these cores; give them cores of their own (gateway.cores, cluster.cores), "
            'or one tier at a time: placement = "alternate"'
        )
    if scenario.repeats < REPEATS_NEEDED:
        return f"{scenario.repeats} of at least {REPEATS_NEEDED} repeats"
    return None


def _of_invalid(runs: int) -> str:
    return f"{runs} of the runs are INVALID"


def _figure(headline: Headline, runs: Sequence[Ran], found: Found | None, *, decide: bool) -> Figure:
    """Put a figure together; who is better in what is of frames, these must show as well as the repeats."""
    tiers = {
        tier: spread(values, *_sure(headline, tier, runs, found))
        for tier, values in _values(headline, runs, found).items()
    }
    better: Literal["gateway", "cluster"] | None = None
    if decide and _often_enough(tiers):
        gateway, cluster = tiers["gateway"], tiers["cluster"]
        if headline.name in OF_FRAMES:
            shown = gateway.apart(cluster) and found is not None and headline.name in found.apart
        else:
            shown = not overlap(gateway.interval, cluster.interval)
        if shown:
            better = "gateway" if (gateway.median > cluster.median) == headline.more_is_better else "cluster"
    return Figure(name=headline.name, unit=headline.unit, tiers=tiers, better=better)


def _values(headline: Headline, runs: Sequence[Ran], found: Found | None) -> Mapping[str, list[float]]:
    """Give each tier's values: of the frames that all runs have after their warm-up, or as the runs say."""
    if found is not None and headline.name in found.values:
        return found.values[headline.name]
    values: dict[str, list[float]] = {}
    for one in runs:
        for name, tier in one.summary.tiers.items() if one.summary else ():
            if (value := headline.take(tier)) is not None:
                values.setdefault(name, []).append(value)
    return values


def _sure(headline: Headline, tier: str, runs: Sequence[Ran], found: Found | None) -> list[Interval | None]:
    """Give where a figure lies by its frames."""
    if headline.name == ON_TIME:
        return [] if found is None else [found.on_time.get(tier)]
    if headline.name != ACCURACY:
        return []
    known = (one.summary.tiers.get(tier) for one in runs if one.summary)
    within = (one.accuracy_interval for one in known if one is not None)
    return [Interval(one.low * 100, one.high * 100) for one in within if one is not None]


def _often_enough(tiers: Mapping[str, Spread]) -> bool:
    """Say whether both tiers have a figure often enough to be compared in it."""
    return len(tiers) == len(Tier) and min(len(one.values) for one in tiers.values()) >= REPEATS_NEEDED


def answer(compared: Comparison) -> str:
    """Give what the runs say together, in a sentence, and whether the machine let them."""
    unsteady = sum(run.unsteady for run in compared.runs)
    of = f"{unsteady} of {len(compared.runs)} runs"
    hour = f" The machine was unsteady in {of}: take speeds from a quieter hour." if unsteady else ""
    return f"{_answer(compared)}{hour}"


def _answer(compared: Comparison) -> str:
    invalid = [run.folder for run in compared.runs if run.verdict == "INVALID"]
    if compared.verdict != "VALID" and compared.no_winner != _of_invalid(len(invalid)):
        return f"None: {compared.no_winner}, so these numbers must not be compared."
    if invalid:
        return (
            f"None: {len(invalid)} of {len(compared.runs)} runs are INVALID, so these numbers must not be used. "
            f"The reasons are those of the first, {invalid[0]}."
        )
    if compared.no_winner:
        return f"No tier is called better: {compared.no_winner}."
    names = {tier.value: [figure.name for figure in compared.figures if figure.better == tier.value] for tier in Tier}
    parts = [f"the {tier} is better in {listed(won)}" for tier, won in names.items() if won]
    alike = [figure.name for figure in compared.figures if figure.better is None and _often_enough(figure.tiers)]
    few = [figure.name for figure in compared.figures if not _often_enough(figure.tiers)]
    parts += [f"no difference shown in {listed(alike)}"] if alike else []
    parts += [f"not measured in {REPEATS_NEEDED} runs of each tier: {listed(few)}"] if few else []
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def better(compared: Comparison, figure: Figure) -> str:
    """Name the better tier; - is no difference shown, n/a no comparison."""
    if figure.better:
        return figure.better
    return NOT_MEASURED if compared.no_winner or not _often_enough(figure.tiers) else "-"


def listed(names: Sequence[str]) -> str:
    """Write figures in a row: latency p50, p99 and accuracy."""
    latency = "latency "
    short = [
        name.removeprefix(latency) if place and names[place - 1].startswith(latency) else name
        for place, name in enumerate(names)
    ]
    return " and ".join([", ".join(short[:-1]), short[-1]] if len(short) > 1 else short)


def read(folder: Path) -> Comparison:
    """Read a comparison's folder.

    Raises:
        ConfigError: there is none, or it is none.
    """
    path = folder / NAME
    try:
        return Comparison.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is no comparison's folder: it has no {NAME}; runs stand in runs/") from error
    except (ValidationError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as a comparison; was it written by another version?") from error
