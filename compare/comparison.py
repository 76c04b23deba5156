"""What several runs of one scenario say together: each figure's median and range, and whether one tier wins it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group, RenderableType

from compare import report
from compare.scenario import Placement, Scenario
from edgewise.errors import MissingError
from edgewise.messages import Tier
from edgewise.show import NOT_MEASURED, cell, grid, interval, titled
from edgewise.statistics import median_interval, overlap
from edgewise.summary import Interval, Reason, Summary, TierSummary

BETTER: Final = "Better only where the intervals do not overlap; - is no difference that the repeats show."
REPEATS_NEEDED: Final = 3
"""Before a difference may be called a win."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Run(_Part):
    """One run of the scenario."""

    folder: str
    """Its own, inside the comparison's."""
    tiers: list[str]
    verdict: Literal["VALID", "INVALID"]


class Spread(_Part):
    """One figure over the repeats."""

    values: list[float]
    """In the order of the runs."""
    median: float
    interval: Interval
    """Of the median, 95 %, by bootstrap over the repeats."""


class Figure(_Part):
    """One figure of both tiers."""

    name: str
    unit: str
    tiers: dict[str, Spread]
    better: Literal["gateway", "cluster"] | None
    """None where the intervals overlap, or where the runs may not say."""


class Comparison(_Part):
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

FIGURES: Final[Sequence[tuple[str, str, bool, Take]]] = (
    ("latency p50", "ms", False, lambda tier: tier.latency_ms.p50),
    ("latency p99", "ms", False, lambda tier: tier.latency_ms.p99),
    ("right and on time", "%", True, lambda tier: None if tier.on_time is None else tier.on_time * 100),
    ("accuracy", "%", True, lambda tier: None if tier.accuracy is None else tier.accuracy * 100),
    ("CPU for 1,000 right", "s", False, lambda tier: tier.per_1000_correct.cpu_s),
    ("uplink for 1,000 right", "MB", False, lambda tier: _mb(tier.per_1000_correct.uplink_bytes)),
)
"""Name, unit, whether more is better, and where it stands in a tier's summary."""


def _mb(found: float | None) -> float | None:
    return None if found is None else found / 1e6


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
        figures=[
            _figure(name, unit, _values(runs, take), more=more, decide=why is None)
            for name, unit, more, take in FIGURES
        ],
    )


def _no_winner(scenario: Scenario, *, invalid: int) -> str | None:
    gateway, cluster = set(scenario.gateway.cores), set(scenario.cluster.cores)
    if invalid:
        return f"{invalid} of the runs are INVALID"
    if scenario.placement in {Placement.GATEWAY, Placement.CLUSTER}:
        return "one tier alone"
    if scenario.placement is Placement.BOTH and not (gateway and cluster and not gateway & cluster):
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


def _figure(name: str, unit: str, values: Mapping[str, list[float]], *, more: bool, decide: bool) -> Figure:
    tiers = {tier: _spread(found) for tier, found in values.items()}
    better: Literal["gateway", "cluster"] | None = None
    if decide and {"gateway", "cluster"} <= set(tiers):
        gateway, cluster = tiers["gateway"], tiers["cluster"]
        enough = min(len(gateway.values), len(cluster.values)) >= REPEATS_NEEDED
        if enough and not overlap(gateway.interval, cluster.interval):
            better = "gateway" if (gateway.median > cluster.median) == more else "cluster"
    return Figure(name=name, unit=unit, tiers=tiers, better=better)


def _spread(values: list[float]) -> Spread:
    middle, (low, high) = median_interval(values)
    return Spread(values=values, median=middle, interval=Interval(low=low, high=high))


def write(compared: Comparison, folder: Path) -> None:
    """Write ``comparison.json``.

    Raises:
        MissingError: the disk does not take it.
    """
    path = folder / "comparison.json"
    try:
        path.write_text(compared.model_dump_json(indent=1, by_alias=True) + "\n")
    except OSError as error:
        raise MissingError(f"{path} cannot be written: {error.strerror}; free some space") from error


def rendered(compared: Comparison) -> RenderableType:
    """Lay a comparison out for the terminal: the verdict, the figures, and whether one tier may be called better."""
    head = report.verdict(compared.verdict, f"{compared.scenario}, {len(compared.runs)} runs")
    tiers = [tier.value for tier in Tier]
    columns = [name for tier in tiers for name in (tier, f"95 % of {tier}")]
    table = grid("figure", numbers=tuple(columns))
    table.add_column("better")
    for figure in compared.figures:
        cells = [text for tier in tiers for text in _cells(figure.tiers.get(tier))]
        table.add_row(f"{figure.name}, {figure.unit}", *cells, figure.better or "-")
    why = f"No tier is called better: {compared.no_winner}." if compared.no_winner else BETTER
    return Group(head, *report.reasons(compared.reasons), *titled("Medians over the repeats", table, why))


def _cells(spread: Spread | None) -> tuple[str, str]:
    if spread is None:
        return NOT_MEASURED, NOT_MEASURED
    return cell(spread.median, digits=2), interval(spread.interval, digits=2)
