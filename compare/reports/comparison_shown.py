"""A comparison of several runs on the terminal."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from compare.reports import report
from compare.reports.comparison import Comparison, Figure, answer, better
from compare.reports.spread import Spread
from compare.reports.tiers_paired import Contrast, Paired
from edgewise.messages import Tier
from edgewise.show import NOT_MEASURED, cell, count, grid, interval, titled
from edgewise.summary import Interval

COLUMNS: Final = ("median", "min to max", "95 % interval")
BETTER: Final = "Better only where the repeats do not overlap, and the same frames differ; - is no difference shown."
PAIRED: Final = "On the same frames: how often both agree, and the cluster's figures minus the gateway's"


def rendered(compared: Comparison) -> RenderableType:
    """Lay a comparison out for the terminal: the verdict, the figures, and whether one tier may be called better."""
    head = report.verdict(compared.verdict, f"{compared.scenario}, {len(compared.runs)} runs")
    table = grid("figure", "tier", numbers=COLUMNS)
    table.add_column("better")
    tiers = tiers_of(compared)
    for figure in compared.figures:
        for place, (tier, cells) in enumerate(rows(figure, tiers)):
            first = place == 0
            table.add_row(written(figure) if first else "", tier, *cells, better(compared, figure) if first else "")
    notes = [*window(compared), *(() if compared.no_winner else (BETTER,))]
    return Group(
        head,
        *report.reasons(compared.reasons),
        Text(answer(compared)),
        *titled("Over the repeats", table, *notes),
        *(() if compared.paired is None else _paired(compared.paired)),
    )


def _paired(found: Paired) -> Iterator[RenderableType]:
    table = grid("figure", numbers=COLUMNS)
    for one in found.figures:
        table.add_row(written(one), *cells_of(one.spread))
    yield from titled(PAIRED, table, said(found))


def window(compared: Comparison) -> Iterator[str]:
    """Say which frames latencies are of, where it is the same ones in all runs."""
    if compared.from_s is not None:
        yield (
            f"Latencies and right and on time are of the frames due from {compared.from_s:,.1f} s on: "
            "all warm-ups had ended."
        )


def said(found: Paired) -> str:
    """Say how many frames and images it is of, and whether they differ by more than chance."""
    frames = sorted({min(found.frames), max(found.frames)})
    return (
        f"{' to '.join(map(count, frames))} frames a repeat were answered by both. Of {found.images:,} images the "
        f"gateway got {found.only_gateway_right:,} right oftener, the cluster {found.only_cluster_right:,}: "
        f"McNemar's p {found.mcnemar_p:.3g}."
    )


def written(figure: Figure | Contrast) -> str:
    """Name a figure with its unit."""
    return f"{figure.name}, {figure.unit}"


def tiers_of(compared: Comparison) -> Sequence[str]:
    """Name the tiers that ran, in the order of the data."""
    return [tier.value for tier in Tier if any(tier.value in run.tiers for run in compared.runs)]


def rows(figure: Figure, tiers: Sequence[str]) -> Iterator[tuple[str, tuple[str, str, str]]]:
    """Give each tier's median, least to most, and interval, as written; n/a where no run measured the figure."""
    for tier in tiers:
        found = figure.tiers.get(tier)
        yield tier, (NOT_MEASURED,) * 3 if found is None else cells_of(found)


def cells_of(found: Spread) -> tuple[str, str, str]:
    """Write a median, least to most, and an interval."""
    ends = Interval(low=found.min, high=found.max)
    return cell(found.median, digits=2), interval(ends, digits=2), interval(found.interval, digits=2)
