"""A search or a sweep as one page for a browser: the answer, what it stands on, and each of its runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from markupsafe import Markup

from compare.reports import page, plots
from compare.reports.comparison_page import links
from compare.reports.grids import Grid
from compare.reports.plots import Loads, Words
from compare.searches import capacity, crossover, sweep
from compare.searches.capacity import Capacity
from compare.searches.crossover import Crossover
from compare.searches.steps import P99, Step
from compare.searches.sweep import Sweep
from edgewise.messages import Tier

TEMPLATE: Final = "series.html.j2"
Series = Capacity | Crossover | Sweep


@dataclass(frozen=True, slots=True)
class View:
    """What the page shows."""

    sentences: Sequence[str]
    pictures: Sequence[tuple[Words, Markup]]
    grids: Sequence[Grid]
    notes: Sequence[str]
    folders: Sequence[str]
    """Of the runs, in their order."""


def write(found: Series, folder: Path, out: Path | None = None) -> Path:
    """Write the page, whole or not at all; give its path.

    Raises:
        MissingError: the disk does not take it.
    """
    place = out or folder / page.NAME
    content = page.template(TEMPLATE).render(
        title=title(found),
        verdict=found.verdict,
        reasons=[page.broken(one) for one in found.reasons],
        view=view(found),
        links=links(folder, place),
    )
    return page.put(content, place)


def title(found: Series) -> str:
    """Name what was found out, and of what."""
    kind = {Capacity: "capacity", Crossover: "crossover", Sweep: "sweep"}[type(found)]
    return found.scenario if found.scenario == kind else f"{found.scenario}, {kind}"


def view(found: Series) -> View:
    """Say what the page shows."""
    match found:
        case Capacity():
            return _capacity(found)
        case Crossover():
            return _crossover(found)
        case Sweep():
            return _sweep(found)


def _capacity(found: Capacity) -> View:
    words = Words("p99", "Latency p99 at each rate", "Dots are rates that were sustained, crosses are not.")
    tiers = {name: _p99(tier.steps) for name, tier in found.tiers.items() if tier.steps}
    picture = plots.by_load(
        tiers, words, across="frames a second offered", up="latency p99, ms", limit_ms=found.deadline_ms
    )
    return View(
        sentences=[capacity.said(name, tier, deadline_ms=found.deadline_ms) for name, tier in found.tiers.items()],
        pictures=[(words, picture)] if any(np.isfinite(one.value).any() for one in tiers.values()) else [],
        grids=[
            Grid(f"Steps of the {name}", capacity.HEAD, list(capacity.rows(tier.steps)))
            for name, tier in found.tiers.items()
        ],
        notes=["Dots and squares are rates that were sustained, crosses are not; the dotted line is the deadline."],
        folders=[folder for tier in found.tiers.values() for step in tier.steps for folder in step.folders],
    )


def _p99(steps: Sequence[Step]) -> Loads:
    offered_hz = np.array([step.offered_hz for step in steps], dtype=np.float64)
    p99_ms = [step.found(P99) for step in steps]
    value = np.array([np.nan if one is None else one for one in p99_ms], dtype=np.float64)
    return Loads(offered_hz, value, [step.sustained for step in steps])


def _crossover(found: Crossover) -> View:
    tiers = [tier.value for tier in Tier]
    cameras = np.array([probe.cameras for probe in found.probes], dtype=np.float64)
    better = {tier: [probe.better == tier for probe in found.probes] for tier in tiers}
    loads = {
        tier: Loads(cameras, np.array([probe.tiers[tier].share * 100 for probe in found.probes]), better[tier])
        for tier in tiers
    }
    words = Words(
        "on-time",
        f"Right within {found.deadline_ms:g} ms, by cameras",
        "A dot where the tier is the better one, a cross where it is not.",
    )
    picture = plots.by_load(loads, words, across="cameras", up="right and on time, %")
    return View(
        sentences=[crossover.said(found)],
        pictures=[(words, picture)] if found.probes else [],
        grids=[Grid("Each number of cameras", crossover.HEAD, list(crossover.rows(found)))],
        notes=["A dot or square where the tier is the better one, a cross where it is not.", crossover.NOTE],
        folders=found.runs
        or [folder for probe in found.probes for one in probe.tiers.values() for folder in one.folders],
    )


def _sweep(found: Sweep) -> View:
    words = Words("settings", "Latency by setting", "For each setting p50 and p99 of each tier.")
    points = {sweep.named(point): dict(_latencies(point)) for point in found.points}
    return View(
        sentences=sweep.said(found),
        pictures=[(words, plots.by_setting(points, words))],
        grids=[Grid("What each setting gives", sweep.head(found), list(sweep.rows(found)))],
        notes=["Filled is p50, empty p99.", *sweep.notes(found)],
        folders=[run.folder for point in found.points for run in point.comparison.runs],
    )


def _latencies(point: sweep.Point) -> Iterator[tuple[str, tuple[float | None, float | None]]]:
    for tier in sweep.tiers(point):
        yield tier, (sweep.median(point, "latency p50", tier), sweep.median(point, "latency p99", tier))
