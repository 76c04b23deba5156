"""A run's summary for people: a verdict before any number, a unit on each, n/a for what was not measured."""

from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Group, RenderableType
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
        Text(f"  {reason.rule}: {reason.found} (limit {reason.limit}); {reason.next}") for reason in summary.reasons
    ]
    return Group(head, *reasons, _funnel(summary), _tiers(summary), _latency(summary))


def show(summary: Summary, *, as_json: bool = False) -> None:
    """Print a summary on stdout."""
    if as_json:
        show_text(summary.model_dump_json())
    else:
        show_table(rendered(summary))


def _funnel(summary: Summary) -> Table:
    frames, late = summary.frames, summary.lateness_ms
    table = Table(title="Frames, from the schedule to Kafka", title_justify="left")
    for name in ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped at source", "in Kafka", "rejected"):
        table.add_column(name, justify="right")
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
    table.caption = (
        f"sent late by p50 {cell(late.p50, digits=2)} ms, p99 {cell(late.p99, digits=2)} ms, "
        f"max {cell(late.max, digits=2)} ms; {count(frames.bridged_copies)} copies in Kafka, counted once"
    )
    table.caption_justify = "left"
    return table


def _tiers(summary: Summary) -> Table:
    table = Table(title="Results", title_justify="left")
    table.add_column("tier")
    table.add_column("engine, model")
    for name in (
        "results",
        "missing",
        "rejected",
        "copies",
        "accuracy %",
        "results/s",
        "batch",
        "CPU s",
        "memory MB",
        "uplink MB",
    ):
        table.add_column(name, justify="right")
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            f"{tier.engine}, {tier.model}" if tier.engine else NOT_MEASURED,
            count(tier.results),
            count(tier.missing),
            count(tier.rejected),
            count(tier.duplicates),
            cell(None if tier.accuracy is None else tier.accuracy * 100, digits=2),
            cell(tier.throughput_hz),
            cell(tier.batch_mean),
            cell(tier.cpu_s),
            cell(None if tier.memory_bytes is None else tier.memory_bytes / 1e6, digits=0),
            cell(tier.uplink_bytes / 1e6, digits=2),
        )
    return table


def _latency(summary: Summary) -> Table:
    table = Table(title="Latency from due to seen, ms", title_justify="left")
    table.add_column("tier")
    for name in ("n", "p50", "p90", "p99", "p99.9"):
        table.add_column(name, justify="right")
    stages = next(iter(summary.tiers.values())).latency_stages_ms if summary.tiers else {}
    for name in stages:
        table.add_column(f"{name} p50", justify="right")
    for name, tier in summary.tiers.items():
        found = tier.latency_ms
        table.add_row(
            name,
            count(tier.results + tier.missing),
            *(cell(value) for value in (found.p50, found.p90, found.p99, found.p999)),
            *(cell(value) for value in tier.latency_stages_ms.values()),
        )
    table.caption = " ".join(_notes(summary.tiers))
    table.caption_justify = "left"
    return table


def _notes(tiers: dict[str, TierSummary]) -> list[str]:
    notes = ["Missing frames count as infinitely late; n/a: too few samples (p99 needs 459, p99.9 needs 4,603)."]
    for name, tier in tiers.items():
        if tier.late_readings:
            notes.append(
                f"{name}: {tier.late_readings:,} results were timed by Kafka's append stamp (whole ms), "
                "as the ledger began after them."
            )
    return notes
