"""A run's summary for people: a verdict before any number, a unit on each, n/a for what was not measured.

Laid out so that a terminal of 80 columns cuts off no heading.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from edgewise.errors import ConfigError
from edgewise.show import table as show_table
from edgewise.show import text as show_text
from edgewise.summary import Summary, TierSummary

NOT_MEASURED: Final = "n/a"


def read(folder: Path) -> Summary:
    """Read a run folder's summary.

    Raises:
        ConfigError: there is none, or it is none.
    """
    path = folder / "summary.json"
    try:
        return Summary.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigError(f"{folder} is no run folder: it has no summary.json; runs stand in runs/") from error
    except (ValidationError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as a summary; was it written by another version?") from error


def cell(value: float | None, *, digits: int = 1) -> str:
    """Write one number. ``None`` was not measured; 0 was, and is 0."""
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def count(value: int | None) -> str:
    """Write a count."""
    return NOT_MEASURED if value is None else f"{value:,}"


def rendered(summary: Summary) -> RenderableType:
    """Lay a summary out for the terminal."""
    valid = summary.verdict == "VALID"
    head = Text.assemble(
        (f" {summary.verdict} ", "bold white on green" if valid else "bold white on red"), f"  run {summary.run}"
    )
    reasons = [
        Padding(Text(f"{reason.rule}: {reason.found} (limit {reason.limit}); {reason.next}"), (0, 0, 0, 2))
        for reason in summary.reasons
    ]
    return Group(head, *reasons, *_funnel(summary), *_tiers(summary), *_costs(summary), *_latency(summary))


def show(summary: Summary, *, as_json: bool = False) -> None:
    """Print a summary on stdout."""
    if as_json:
        show_text(summary.model_dump_json())
    else:
        show_table(rendered(summary))


def _titled(title: str, table: Table, *notes: str) -> Iterator[RenderableType]:
    """Give a table with its title before it and its notes after it."""
    yield from (Text(), Text(title, style="bold"), table)
    yield from (Text(note, style="dim") for note in notes)


def _table(*names: str, numbers: tuple[str, ...]) -> Table:
    """Make an empty table: columns of words, then of numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="")
    for name in (*names, *numbers):
        widest = max(len(word) for word in name.split())
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold", min_width=widest)
    return table


def _funnel(summary: Summary) -> Iterator[RenderableType]:
    frames, late = summary.frames, summary.lateness_ms
    names = ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped at source", "in Kafka", "rejected")
    table = _table(numbers=names)
    table.add_row(
        count(frames.scheduled),
        count(frames.sent),
        count(frames.confirmed),
        count(frames.unheard),
        count(frames.refused),
        count(frames.dropped_at_source),
        count(frames.bridged),
        count(frames.rejected),
    )
    lateness = ", ".join(
        f"{name} {NOT_MEASURED if value is None else f'{value:,.2f} ms'}"
        for name, value in (("p50", late.p50), ("p99", late.p99), ("max", late.max))
    )
    copies = f"Copies in Kafka, counted once: {count(frames.bridged_copies)}."
    lost = f"Confirmed by the MQTT broker, never bridged: {count(frames.never_bridged)}."
    yield from _titled("Frames, from the schedule to Kafka", table, f"Sent late by: {lateness}. {copies}", lost)


def _tiers(summary: Summary) -> Iterator[RenderableType]:
    names = ("results", "missing", "rejected", "copies", "reordered", "accuracy %", "results/s")
    table = _table("tier", numbers=names)
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            count(tier.results),
            count(tier.missing),
            count(tier.rejected),
            count(tier.duplicates),
            count(tier.reordered),
            cell(None if tier.accuracy is None else tier.accuracy * 100, digits=2),
            cell(tier.throughput_hz),
        )
    yield from _titled("Results, in frames", table)


def _costs(summary: Summary) -> Iterator[RenderableType]:
    table = _table("tier", "engine", "model", numbers=("frames/batch", "CPU s", "memory MB", "uplink MB"))
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            tier.engine or NOT_MEASURED,
            tier.model or NOT_MEASURED,
            cell(tier.batch_mean),
            cell(tier.cpu_s),
            cell(None if tier.memory_bytes is None else tier.memory_bytes / 1e6, digits=0),
            cell(tier.uplink_bytes / 1e6, digits=2),
        )
    yield from _titled("What gave them, and its cost", table)


def _latency(summary: Summary) -> Iterator[RenderableType]:
    table = _table("tier", numbers=("frames", "p50", "p90", "p99", "p99.9"))
    for name, tier in summary.tiers.items():
        found = tier.latency_ms
        numbers = (cell(value) for value in (found.p50, found.p90, found.p99, found.p999))
        table.add_row(name, count(tier.results + tier.missing), *numbers)
    yield from _titled("Latency from due to seen, ms", table, *_notes(summary.tiers))
    stages = next(iter(summary.tiers.values())).latency_stages_ms if summary.tiers else {}
    table = _table("tier", numbers=tuple(stages))
    for name, tier in summary.tiers.items():
        table.add_row(name, *(cell(value) for value in tier.latency_stages_ms.values()))
    yield from _titled("Where that time goes: the median of each step, ms", table)


def _notes(tiers: dict[str, TierSummary]) -> Iterator[str]:
    yield "Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite."
    for name, tier in tiers.items():
        if tier.late_readings:
            yield (
                f"{name}: {tier.late_readings:,} results were timed by Kafka's append stamp (whole ms), "
                "as the ledger had not caught up."
            )
