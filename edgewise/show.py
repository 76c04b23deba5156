"""How things are printed on stdout: tables for people, JSON for programs."""

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, RenderableType

REPORT_COLUMNS: Final = 120
"""Of a report that does not go to a terminal."""


def table(content: RenderableType) -> None:
    """Print something laid out; a pipe or file gets it wide enough."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else REPORT_COLUMNS
    Console(width=wide).print(content)


def text(content: str) -> None:
    """Print a line."""
    sys.stdout.write(content + "\n")


def account(counts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what a part did."""
    if as_json:
        text(json.dumps(counts))
        return
    for name, value in counts.items():
        text(f"{name:<20} {value if not isinstance(value, int) else f'{value:,}'}")
