"""A run's summary for people: a verdict before any number, a unit on each, n/a for what was not measured.

Laid out so that a terminal of 80 columns cuts off no heading.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
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
from edgewise.summary import Summary

NOT_MEASURED: Final = "n/a"
MICRO_BATCH: Final = (
    "latest_offset",
    "query_planning",
    "wal_commit",
    "add_batch",
    "commit_offsets",
    "whole",
)
"""Steps of a micro-batch, as the cluster's closing account names them."""
CO_LOCATED: Final = "co-located: the tiers shared these cores, so no winner is named."


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
    # Whether both tiers answer alike stands before how fast either is.
    tables = (_funnel, _paired, _tiers, _costs, _latency, _micro_batches)
    return Group(head, *reasons, *(part for table in tables for part in table(summary)))


def micro_batch_ms(accounts: Sequence[Mapping[str, object]]) -> dict[str, float | None] | None:
    """Read the medians of a micro-batch's steps out of a tier's closing accounts.

    None if there are none, and if several processes account for some: medians cannot be merged.
    """
    told = [found for one in accounts if isinstance(found := one.get("micro_batch_ms"), Mapping)]
    if len(told) != 1:
        return None
    steps = {name: told[0].get(name) for name in MICRO_BATCH}
    return {name: float(ms) if isinstance(ms, int | float) and isfinite(ms) else None for name, ms in steps.items()}


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


def _paired(summary: Summary) -> Iterator[RenderableType]:
    if summary.paired is None:
        return
    both = summary.paired
    names = ("answered by both", "same label %", "both right", "only gateway right", "only cluster right", "both wrong")
    table = _table(numbers=names)
    table.add_row(
        count(both.frames),
        cell(None if both.agreement is None else both.agreement * 100, digits=2),
        count(both.both_right),
        count(both.only_gateway_right),
        count(both.only_cluster_right),
        count(both.both_wrong),
    )
    yield from _titled("The same frames on both tiers", table)


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
    yield from _titled("Latency from due to seen, ms", table, *_notes(summary))
    stages = next(iter(summary.tiers.values())).latency_stages_ms if summary.tiers else {}
    table = _table("tier", numbers=tuple(stages))
    for name, tier in summary.tiers.items():
        table.add_row(name, *(cell(value) for value in tier.latency_stages_ms.values()))
    yield from _titled("Where that time goes: the median of each step, ms", table)


def _micro_batches(summary: Summary) -> Iterator[RenderableType]:
    told = {name: tier for name, tier in summary.tiers.items() if tier.micro_batch_ms is not None}
    if not told:
        return
    table = _table("tier", numbers=tuple(name.replace("_", " ") for name in MICRO_BATCH))
    for name, tier in told.items():
        steps = tier.micro_batch_ms or {}
        table.add_row(name, *(cell(steps.get(step)) for step in MICRO_BATCH))
    notes = (f"Tasks at the same time in the {name}: {count(tier.tasks)}." for name, tier in told.items())
    yield from _titled("Where a micro-batch's time goes: medians, ms", table, *notes)


def _notes(summary: Summary) -> Iterator[str]:
    yield "Missing frames are infinitely late. n/a: too few samples (p99 needs 459, p99.9 needs 4,603), or infinite."
    for name, tier in summary.tiers.items():
        if tier.late_readings:
            yield (
                f"{name}: {tier.late_readings:,} results were timed by Kafka's append stamp (whole ms), "
                "as the ledger had not caught up."
            )
    if summary.paired is not None:
        later = summary.paired.latency_difference_ms
        yield (
            f"Of the same frame, cluster minus gateway ({count(summary.paired.frames)} frames): "
            f"p50 {_ms(later.p50)}, p90 {_ms(later.p90)}."
        )
    if len(summary.tiers) > 1:
        yield CO_LOCATED


def _ms(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:,.1f} ms"
