"""What several runs of one scenario say together: each figure's median and range, and whether one tier wins it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError, model_validator
from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.scenario import Placement, Scenario
from edgewise.errors import ConfigError
from edgewise.messages import Tier
from edgewise.show import NOT_MEASURED, cell, grid, interval, titled
from edgewise.statistics import median_interval, overlap
from edgewise.summary import Interval, Reason, Strict, Summary, TierSummary

BETTER: Final = "Better only where the intervals do not overlap; - is no difference that the repeats show."
REPEATS_NEEDED: Final = 3
"""Before a difference may be called a win."""
NAME: Final = "comparison.json"


class Run(Strict):
    """One run of the scenario."""

    folder: str
    """Its own, inside the comparison's."""
    tiers: list[str]
    verdict: Literal["VALID", "INVALID"]


class Spread(Strict):
    """One figure over the repeats."""

    values: list[float]
    """In the order of the runs."""
    median: float
    min: float
    max: float
    interval: Interval
    """Of the median, 95 %, by bootstrap over the repeats."""

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, given: Any) -> Any:  # noqa: ANN401 - as it stands in a file
        """Take least and most from the values, where an older version did not write them."""
        values = given.get("values") if isinstance(given, dict) else None
        return {"min": min(values), "max": max(values)} | given if values else given


class Figure(Strict):
    """One figure of both tiers."""

    name: str
    unit: str
    tiers: dict[str, Spread]
    better: Literal["gateway", "cluster"] | None
    """None where the intervals overlap, or where the runs may not say."""


class Comparison(Strict):
    """All runs of one scenario."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    scenario: str
    placement: Placement
    repeats: int
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """Of the first INVALID run."""
    no_winner: str | None
    """Why no tier is called the better one, whatever the figures."""
    runs: list[Run]
    figures: list[Figure]


Take = Callable[[TierSummary], float | None]


@dataclass(frozen=True, slots=True)
class Headline:
    """A figure that runs are compared in."""

    name: str
    unit: str
    take: Take
    """Where it stands in a tier's summary."""
    more_is_better: bool = False
    repeated: bool = True
    """Whether the repeats of a scenario are compared in it, too; otherwise it is for two runs alone."""


HEADLINES: Final[Sequence[Headline]] = (
    Headline("latency p50", "ms", lambda tier: tier.latency_ms.p50),
    Headline("latency p90", "ms", lambda tier: tier.latency_ms.p90, repeated=False),
    Headline("latency p99", "ms", lambda tier: tier.latency_ms.p99),
    Headline("right and on time", "%", lambda tier: _percent(tier.on_time), more_is_better=True),
    Headline("accuracy", "%", lambda tier: _percent(tier.accuracy), more_is_better=True),
    Headline("throughput", "results/s", lambda tier: tier.throughput_hz, more_is_better=True, repeated=False),
    Headline("CPU for 1,000 right", "s", lambda tier: tier.per_1000_correct.cpu_s),
    Headline("uplink for 1,000 right", "MB", lambda tier: _megabytes(tier.per_1000_correct.uplink_bytes)),
)
FIGURES: Final = tuple(one for one in HEADLINES if one.repeated)
"""Of a comparison."""


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


def _megabytes(size_bytes: float | None) -> float | None:
    return None if size_bytes is None else size_bytes / 1e6


def compared(scenario: Scenario, runs: Sequence[tuple[str, Summary]]) -> Comparison:
    """Put runs together.

    Args:
        scenario: that they are runs of.
        runs: each one's folder and summary, in their order.
    """
    invalid = [summary for _, summary in runs if summary.verdict == "INVALID"]
    why = _no_winner(scenario, invalid=len(invalid))
    return Comparison(
        schema=1,
        scenario=scenario.name,
        placement=scenario.placement,
        repeats=scenario.repeats,
        verdict="INVALID" if invalid else "VALID",
        reasons=invalid[0].reasons if invalid else [],
        no_winner=why,
        runs=[Run(folder=folder, tiers=list(summary.tiers), verdict=summary.verdict) for folder, summary in runs],
        figures=[_figure(one, _values(runs, one.take), decide=why is None) for one in FIGURES],
    )


def _no_winner(scenario: Scenario, *, invalid: int) -> str | None:
    gateway, cluster = set(scenario.gateway.cores), set(scenario.cluster.cores)
    if invalid:
        return f"{invalid} of the runs are INVALID"
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


def _values(runs: Sequence[tuple[str, Summary]], take: Take) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for _, summary in runs:
        for name, tier in summary.tiers.items():
            if (value := take(tier)) is not None:
                found.setdefault(name, []).append(value)
    return found


def _figure(headline: Headline, values: Mapping[str, list[float]], *, decide: bool) -> Figure:
    tiers = {tier: _spread(found) for tier, found in values.items()}
    better: Literal["gateway", "cluster"] | None = None
    if decide and {"gateway", "cluster"} <= set(tiers):
        gateway, cluster = tiers["gateway"], tiers["cluster"]
        enough = min(len(gateway.values), len(cluster.values)) >= REPEATS_NEEDED
        if enough and not overlap(gateway.interval, cluster.interval):
            better = "gateway" if (gateway.median > cluster.median) == headline.more_is_better else "cluster"
    return Figure(name=headline.name, unit=headline.unit, tiers=tiers, better=better)


def _spread(values: list[float]) -> Spread:
    middle, (low, high) = median_interval(values)
    return Spread(values=values, median=middle, min=min(values), max=max(values), interval=Interval(low=low, high=high))


def answer(compared: Comparison) -> str:
    """Give what the runs say together, in a sentence."""
    if compared.verdict != "VALID":
        return "None: this comparison is INVALID and its numbers must not be used."
    if compared.no_winner:
        return f"No tier is called better: {compared.no_winner}."
    names = {tier.value: [figure.name for figure in compared.figures if figure.better == tier.value] for tier in Tier}
    parts = [f"the {tier} is better in {listed(won)}" for tier, won in names.items() if won]
    alike = [figure.name for figure in compared.figures if figure.better is None and _decided(figure)]
    few = [figure.name for figure in compared.figures if not _decided(figure)]
    parts += [f"no difference that the repeats show in {listed(alike)}"] if alike else []
    parts += [f"not measured in {REPEATS_NEEDED} runs of each tier: {listed(few)}"] if few else []
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}."


def better(compared: Comparison, figure: Figure) -> str:
    """Name the better tier; - is no difference that the repeats show, n/a no comparison."""
    if figure.better:
        return figure.better
    return NOT_MEASURED if compared.no_winner or not _decided(figure) else "-"


def _decided(figure: Figure) -> bool:
    """Say whether both tiers have the figure often enough to be compared in it."""
    return len(figure.tiers) > 1 and min(len(spread.values) for spread in figure.tiers.values()) >= REPEATS_NEEDED


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


def rendered(compared: Comparison) -> RenderableType:
    """Lay a comparison out for the terminal: the verdict, the figures, and whether one tier may be called better."""
    head = report.verdict(compared.verdict, f"{compared.scenario}, {len(compared.runs)} runs")
    numbers = ("median", "min to max", "95 % interval")
    table = grid("figure", "tier", numbers=numbers)
    table.add_column("better")
    tiers = tiers_of(compared)
    for figure in compared.figures:
        for place, (tier, cells) in enumerate(rows(figure, tiers)):
            first = place == 0
            table.add_row(written(figure) if first else "", tier, *cells, better(compared, figure) if first else "")
    notes = () if compared.no_winner else (BETTER,)
    return Group(
        head,
        *report.reasons(compared.reasons),
        Text(answer(compared)),
        *titled("Over the repeats", table, *notes),
    )


def written(figure: Figure) -> str:
    """Name a figure with its unit."""
    return f"{figure.name}, {figure.unit}"


def tiers_of(compared: Comparison) -> Sequence[str]:
    """Name the tiers that ran, in the order of the data."""
    return [tier.value for tier in Tier if any(tier.value in run.tiers for run in compared.runs)]


def rows(figure: Figure, tiers: Sequence[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Give each tier's median, least to most, and interval, as written; n/a where no run measured the figure."""
    for tier in tiers:
        spread = figure.tiers.get(tier)
        if spread is None:
            yield tier, (NOT_MEASURED,) * 3
            continue
        ends = Interval(low=spread.min, high=spread.max)
        yield tier, (cell(spread.median, digits=2), interval(ends, digits=2), interval(spread.interval, digits=2))
