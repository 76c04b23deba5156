"""How two runs, or two comparisons, differ: laid out for the terminal, the sentence before any number."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from compare.reports.alike import Obstacle
from compare.reports.comparison import listed
from compare.reports.difference import DIFFERS, Change, Differences
from edgewise.show import cell, grid, interval, titled

OF_ONE: Final = (
    "The intervals are of B minus A, and hold all together with 95 %: of 20 pairs of equal runs, one differs in "
    "anything. Latencies, right and on time, throughput and uplink by drawing blocks of whole seconds of the schedule; "
    "accuracy by paired bootstrap on the same images, by Newcombe on others. n/a: too few frames or seconds, or (CPU) "
    "one number a run."
)
ONE_EACH: Final = (
    "One run each: the intervals say how sure these two are, not how much repeats of either would differ, as something "
    "else may have run on the machine; for that give two comparisons of at least 3 repeats."
)
OF_SEVERAL: Final = (
    "Intervals are 95 % of the median over the repeats; figures differ if these do not overlap. "
    "n/a: fewer than 3 runs measured the figure."
)
FAINT: Final = 0.005
"""Below this two digits after the point say nothing."""


def rendered(found: Differences) -> RenderableType:
    """Lay it out."""
    notes = (OF_ONE, ONE_EACH) if found.of == "runs" else (OF_SEVERAL,)
    return Group(
        Text(found.answer, style="bold"),
        *_folders(found),
        *_obstacles(found.obstacles),
        *_changes(found, notes),
        *_settings(found),
    )


def _folders(found: Differences) -> Iterator[RenderableType]:
    for letter, folder in (("A", found.a), ("B", found.b)):
        yield Text(f"{letter}  {folder.verdict:<7}  {folder.name}")


def _obstacles(found: Sequence[Obstacle]) -> Iterator[RenderableType]:
    if not found:
        return
    table = grid("what", "A", "B", "so no verdict on", numbers=())
    for one in found:
        table.add_row(one.what, one.a, one.b, listed(one.figures) or f"any figure of the {' and '.join(one.tiers)}")
    yield from titled("What cannot be compared", table)


def _changes(found: Differences, notes: Sequence[str]) -> Iterator[RenderableType]:
    tiers = list(dict.fromkeys(change.tier for change in found.changes))
    for tier in tiers:
        mine = [change for change in found.changes if change.tier == tier]
        table = _of_runs(mine) if found.of == "runs" else _of_comparisons(mine)
        yield from titled(f"The {tier}", table, *(notes if tier == tiers[-1] else ()))


def _of_runs(changes: Sequence[Change]) -> Table:
    table = grid("figure", numbers=("A", "B", "B minus A", "95 % interval"))
    table.add_column("verdict", no_wrap=True)
    for one in changes:
        digits = _digits(one)
        numbers = (cell(value, digits=digits) for value in (one.a, one.b, one.difference))
        table.add_row(_named(one), *numbers, interval(one.interval, digits=digits), one.verdict)
    return table


def _of_comparisons(changes: Sequence[Change]) -> Table:
    table = grid("figure", numbers=("A", "its interval", "B", "the same of B", "B minus A"))
    table.add_column("verdict", no_wrap=True)
    for one in changes:
        digits = _digits(one)
        sides = ((one.a, one.a_interval), (one.b, one.b_interval))
        cells = [text for value, ends in sides for text in (cell(value, digits=digits), interval(ends, digits=digits))]
        table.add_row(_named(one), *cells, cell(one.difference, digits=digits), one.verdict)
    return table


def _named(change: Change) -> str:
    return f"{change.name}, {change.unit}"


def _digits(change: Change) -> int:
    """Say how many digits after the point show a difference that is as small as this one."""
    return 4 if change.difference and abs(change.difference) < FAINT else 2


def _settings(found: Differences) -> Iterator[RenderableType]:
    if not found.settings:
        so = any(change.verdict == DIFFERS for change in found.changes)
        chance = ": what does differ, differs between repeats of the same" if so else ""
        yield Text(f"No setting that is known of both differs{chance}.", style="dim")
        return
    table = grid("setting", "A", "B", numbers=())
    for one in found.settings:
        table.add_row(one.name, one.a, one.b)
    yield from titled("Settings that differ", table)
