"""A run as one page for a browser, which needs nothing but itself: ``report.html`` in the run folder.

Its numbers are the summary's, written as the text report writes them; only pictures,
confusion matrices and the table by period come from the per-frame table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from compare.reports import curves, grids, plots, report, sentences
from compare.reports.curves import Frames
from compare.reports.grids import Grid
from compare.reports.plots import Words
from compare.runs import runfolder
from consumers.ledger import table
from edgewise import dataset
from edgewise.errors import MissingError
from edgewise.show import cell, count
from edgewise.summary import Reason, Summary

NAME: Final = "report.html"
TEMPLATE: Final = "report.html.j2"
MOST_CLASSES: Final = 20
"""Of a confusion matrix that people can still read."""
TABLE_PERIODS: Final = 30
"""Of the time series as a table, at most."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tier's confusion matrix."""

    tier: str
    names: Sequence[str]
    rows: Sequence[Sequence[tuple[str, float]]]
    """Each count as written, and its share of its row."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the funnel: how many frames came so far."""

    name: str
    frames: str
    share: float | None
    """Of the frames scheduled."""


def write(folder: Path, out: Path | None = None) -> Path:
    """Write a run folder's page, whole or not at all; give its path.

    Raises:
        ConfigError: the folder is none of a run, or something in it cannot be read.
        MissingError: the disk does not take the page.
    """
    summary = report.read(folder)
    split = summary.split_seed is not None
    frames = curves.read(folder / table.FILE, tiers=list(summary.tiers), split=split)
    return put(rendered(summary, frames, manifest=runfolder.manifest(folder)), out or folder / NAME)


def put(page: str, place: Path) -> Path:
    """Write a page to its place, whole or not at all; give the place.

    Raises:
        MissingError: the disk does not take it.
    """
    partial = place.with_name(f"{place.name}.part")
    try:
        partial.write_text(page, encoding="utf-8")
        partial.replace(place)
    except OSError as error:
        raise MissingError(
            f"{place} cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error
    return place


def template(name: str) -> Template:
    """Give a page's template."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template(name)


def rendered(summary: Summary, frames: Frames | None, *, manifest: Mapping[str, Any]) -> str:
    """Lay a run out as HTML."""
    return template(TEMPLATE).render(
        summary=summary,
        reasons=[broken(one) for one in summary.reasons],
        remarks=[broken(one) for one in summary.remarks],
        answer=sentences.answer(summary),
        latency=[grids.latency(summary), *grids.on_time(summary), *grids.phases(summary), *grids.cameras(summary)],
        latency_notes=list(sentences.latency_notes(summary)),
        backlog=list(grids.backlog(summary)),
        stages=[
            grids.stages(summary),
            *grids.steps(summary),
            *grids.micro_batches(summary),
            *grids.impossible_steps(summary),
        ],
        accuracy=[grids.accuracy(summary), *grids.paired(summary)],
        matrices=matrices(frames),
        most_classes=MOST_CLASSES,
        funnel=list(funnel(summary)),
        counts=[grids.source_counts(summary), grids.result_counts(summary), *grids.missing(summary)],
        lateness=grids.lateness(summary),
        resources=[grids.costs(summary), *grids.hops(summary), *grids.part_costs(manifest)],
        manifest=list(grids.manifest_grids(summary, manifest)),
        packages=list(grids.packages(manifest)),
        drawn=None if frames is None else drawn(summary, frames),
        waterfall=waterfall(summary),
    )


@dataclass(frozen=True, slots=True)
class Broken:
    """A reason or a remark as written."""

    rule: str
    found: str
    limit: str
    follow: str
    said: Sequence[str]
    consequences: Sequence["Broken"]


def broken(reason: Reason) -> Broken:
    """Write a reason, and those that followed from it."""
    found, limit = (_with_unit(value, reason.unit) for value in (reason.found, reason.limit))
    return Broken(reason.rule, found, limit, reason.next, reason.said, [broken(one) for one in reason.consequences])


def _with_unit(value: float | str, unit: str) -> str:
    written = f"{value:,}" if isinstance(value, int | float) else value
    return f"{written} {unit}".rstrip()


def matrices(frames: Frames | None) -> list[Matrix]:
    """Give each tier's confusion matrix, if people can read so large a one."""
    found = []
    for tier, rows in ({} if frames is None else frames.tiers).items():
        counts = curves.confusion(rows, classes=len(dataset.CLASSES))
        if not counts.sum() or len(counts) > MOST_CLASSES:
            continue
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        names = [*dataset.CLASSES, *(str(number) for number in range(len(dataset.CLASSES), len(counts)))]
        both = zip(counts.tolist(), shares.tolist(), strict=True)
        cells = [list(zip(map(count, whole), of_row, strict=True)) for whole, of_row in both]
        found.append(Matrix(tier, names, cells))
    return found


def funnel(summary: Summary) -> Iterator[Place]:
    """Give how many frames came how far."""
    frames = summary.frames
    places = {
        "scheduled": frames.scheduled,
        "sent": frames.sent,
        "confirmed by the MQTT broker": frames.confirmed,
        "in Kafka": frames.bridged,
        **{f"answered by the {name}": tier.results for name, tier in summary.tiers.items()},
    }
    for name, number in places.items():
        share = None if number is None or not frames.scheduled else number / frames.scheduled
        yield Place(name, count(number), share)


@dataclass(frozen=True, slots=True)
class Drawn:
    """What is drawn of the per-frame table."""

    latency: Sequence[Markup]
    by_time: Sequence[Markup]
    period: str
    high: str
    """Which percentile is drawn besides the median, or why none is."""
    below_floor: int
    """Frames whose latency has no place on a logarithmic axis."""
    periods: Sequence[Grid]


def drawn(summary: Summary, frames: Frames) -> Drawn:
    """Draw the per-frame table."""
    warm_up_s = 0.0 if summary.warm_up is None else summary.warm_up.lasted_s
    measured = {name: frames.measured_ms(name, warm_up_s=warm_up_s) for name in frames.tiers}
    tiers = {name: curves.distribution(ms) for name, ms in measured.items() if len(ms)}
    said = " ".join(_told(name, summary) for name in tiers)
    cdf = Words("cdf", "Frames answered within a time", f"{said} The curves end below 100 % where frames are missing.")
    tail = Words("tail", "Frames not yet answered after a time", f"The slowest frames of the same curves. {said}")
    found = curves.series(frames)
    by_time: list[Markup] = []
    period, high, tables = "", "", []
    if found is not None and tiers:
        period = "second" if found.period_s == 1 else f"{found.period_s} seconds"
        high = f"p{found.high:g}" if found.high else "no higher percentile"
        tables = [grids.periods(few) for few in [curves.series(frames, at_most=TABLE_PERIODS)] if few is not None]
        told = f"Period by period of {found.period_s} s; the table below the pictures has the numbers."
        by_time = [
            plots.rates(found, Words("rates", "Frames offered and results seen a second", told), warm_up_s=warm_up_s),
            plots.outstanding(found, Words("outstanding", "Frames due and not answered", told), warm_up_s=warm_up_s),
            plots.latency_by_time(
                found, Words("by-time", "Latency of the frames due in each period", told), warm_up_s=warm_up_s
            ),
        ]
    below = sum(int((ms < plots.FLOOR_MS).sum()) for ms in measured.values())
    pictures = [plots.latency_cdf(tiers, cdf), plots.latency_tail(tiers, tail)] if tiers else []
    return Drawn(pictures, by_time, period, high, below, tables)


def _told(name: str, summary: Summary) -> str:
    """Say a tier's percentiles in a sentence."""
    tier = summary.tiers[name]
    found = tier.latency_ms
    return (
        f"{name}: p50 {cell(found.p50)} ms, p90 {cell(found.p90)} ms, p99 {cell(found.p99)} ms; "
        f"of {count(grids.measured(tier))} frames; {count(tier.missing)} missing in the whole run."
    )


def waterfall(summary: Summary) -> Markup | None:
    """Draw the medians of the steps of those tiers that have any."""
    measured = {
        name: tier.latency_stages_ms
        for name, tier in summary.tiers.items()
        if any(value is not None for value in tier.latency_stages_ms.values())
    }
    if not measured:
        return None
    told = "; ".join(
        f"{name}: " + ", ".join(f"{step} {cell(value)} ms" for step, value in found.items())
        for name, found in measured.items()
    )
    return plots.waterfall(measured, Words("waterfall", "The median of each step", f"{told}."))
