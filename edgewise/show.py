"""How things are printed on stdout: tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgewise import log

if TYPE_CHECKING:
    from edgewise.statistics import Bounds

REPORT_COLUMNS: Final = 120
"""Of a report that does not go to a terminal."""
NOT_MEASURED: Final = "n/a"
"""What stands where a figure would: absent is not zero."""


def cell(value: float | None, *, digits: int = 1) -> str:
    """Write one number. ``None`` was not measured; 0 was, and is 0."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def count(value: int | None) -> str:
    """Write a count."""
    return NOT_MEASURED if value is None else f"{value:,}"


def percent(share: float | None) -> str:
    """Write a share in percent."""
    return cell(None if share is None else share * 100, digits=2)


def megabytes(size_bytes: float | None, *, digits: int = 2) -> str:
    """Write a size in megabytes."""
    return cell(None if size_bytes is None else size_bytes / 1e6, digits=digits)


def interval(found: "Bounds | None", *, times: float = 1, digits: int = 1) -> str:
    """Write where a value lies, each end ``times`` as large as it is given."""
    if found is None:
        return NOT_MEASURED
    return f"{cell(found.low * times, digits=digits)} to {cell(found.high * times, digits=digits)}"


def grid(*names: str, numbers: tuple[str, ...]) -> Table:
    """Make an empty table: columns of words, then of numbers."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for name in (*names, *numbers):
        widest = max(len(word) for word in name.split())
        made.add_column(name, justify="right" if name in numbers else "left", overflow="fold", min_width=widest)
    return made


def titled(title: str, content: Table, *notes: str) -> Iterator[RenderableType]:
    """Give a table with its title before it and its notes after it."""
    yield from (Text(), Text(title, style="bold"), content)
    yield from (Text(note, style="dim") for note in notes)


def drawing() -> Console:
    """Give a console on stderr for what moves; it stays empty where programs read what is said there."""
    return Console(stderr=True, quiet=log.form() is log.Form.JSON)


def table(content: RenderableType) -> None:
    """Print something laid out; a pipe or file gets it wide enough."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else REPORT_COLUMNS
    Console(width=wide).print(content)


def printable(content: str) -> str:
    """Give what others wrote so that no line end and no command to the terminal is left in it."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in content)


def text(content: str) -> None:
    """Print a line."""
    sys.stdout.write(content + "\n")


class Summed(Protocol):
    """What several did, for either kind of reader."""

    def as_json(self) -> Mapping[str, Any]:
        """Give it for programs."""

    def tables(self) -> Iterable[RenderableType]:
        """Lay it out for people."""


def summed(found: Summed, *, as_json: bool) -> None:
    """Print what several did, and all together."""
    if as_json:
        text(json.dumps(found.as_json()))
    else:
        table(Group(*found.tables()))


def account(counts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a part did."""
    if as_json:
        text(json.dumps(counts))
        return
    for name, value in counts.items():
        text(f"{name:<20} {value if not isinstance(value, int) else f'{value:,}'}")
