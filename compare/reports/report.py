"""A run's summary for people: a verdict before any number, a unit on each, n/a for what was not measured.

Laid out so that a terminal of 80 columns cuts off no heading.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from compare.reports import sentences
from edgewise.errors import ConfigError
from edgewise.pictures import NAME as PICTURES
from edgewise.show import NOT_MEASURED, cell, count, grid, interval, megabytes, percent, titled
from edgewise.show import table as show_table
from edgewise.show import text as show_text
from edgewise.summary import Phase, Reason, Summary, TierSummary

MICRO_BATCH: Final = (
    "latest_offset",
    "query_planning",
    "wal_commit",
    "add_batch",
    "commit_offsets",
    "whole",
)
"""Steps of a micro-batch, as the cluster's closing account names them."""
MOMENTS: Final = ("sent", "bridged", "appended", "received", "started", "inferred", "result appended", "seen")
"""Of a frame, in their order."""
HOP: Final = ("messages", "MB", "bytes each")
PHASE: Final = ("p50", "p99")
MONEY_DIGITS: Final = 6
"""After the point: 1,000 right answers cost little."""


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


def rendered(summary: Summary) -> RenderableType:
    """Lay a summary out for the terminal."""
    # Whether both tiers answer alike stands before how fast either is.
    tables = (_funnel, _paired, _tiers, _costs, _hops, _latency, _phases, _micro_batches)
    head = verdict(summary.verdict, f"run {summary.run}")
    says = (Text(), Text(" ".join(sentences.answer(summary))))
    return Group(
        head,
        *reasons(summary.reasons),
        *says,
        *(part for table in tables for part in table(summary)),
        *_remarks(summary),
    )


def verdict(found: str, of: str) -> Text:
    """Give the line that stands before any number."""
    return Text.assemble((f" {found} ", f"bold white on {'green' if found == 'VALID' else 'red'}"), f"  {of}")


def reasons(found: Sequence[Reason]) -> Iterator[RenderableType]:
    """Give each reason, the cause first, and under it what followed from it."""
    for reason in found:
        yield Padding(Text(said(reason)), (0, 0, 0, 2))
        yield from (Padding(Text(f"| {line}", style="dim"), (0, 0, 0, 4)) for line in reason.said)
        for below in reason.consequences:
            yield Padding(Text(f"hence {said(below)}"), (0, 0, 0, 4))


def _remarks(summary: Summary) -> Iterator[RenderableType]:
    """Give what breaks no rule and is worth knowing."""
    yield from (Text(f"Remark: {said(remark)}", style="dim") for remark in summary.remarks)


def said(reason: Reason) -> str:
    """Write a rule that was broken: what was found, its limit, and what to do."""
    unit = f" {reason.unit}" if reason.unit else ""
    return f"{reason.rule}: {reason.found}{unit} (limit {reason.limit}{unit}); {reason.next}"


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


def _funnel(summary: Summary) -> Iterator[RenderableType]:
    frames, late = summary.frames, summary.lateness_ms
    names = ("scheduled", "sent", "confirmed", "unheard", "refused", "dropped at source", "in Kafka", "rejected")
    table = grid(numbers=names)
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
    notes = (f"Sent late by: {lateness}. {copies}", lost, *asked_of_cameras(summary), *own_pictures(summary))
    yield from titled("Frames, from the schedule to Kafka", table, *notes)


def asked_of_cameras(summary: Summary) -> Iterator[str]:
    """Say what was asked of the cameras beside what they can do, where that was measured."""
    if (asked := summary.generator) is not None:
        share = percent((asked.peak_hz or asked.offered_hz) / asked.ceiling_hz)
        peak = "" if asked.peak_hz is None else f", at the peak {asked.peak_hz:,.1f},"
        yield (
            f"The cameras were asked for {asked.offered_hz:,.1f} frames/s{peak} of the {asked.ceiling_hz:,.0f} that "
            f"they can send: {share} % (limit {asked.limit_share * 100:.0f} %)."
        )


def own_pictures(summary: Summary) -> Iterator[str]:
    """Say which pictures were sent, where they were not the data set's."""
    for fleet, sent in summary.images.items():
        if sent.dataset == PICTURES:
            yield (
                f"Images of {fleet}: {sent.images:,} pictures of the folder {sent.split}, {sent.skipped:,} of its "
                f"files skipped; SHA-256 {sent.sha256[:12]}."
            )


def _paired(summary: Summary) -> Iterator[RenderableType]:
    if summary.paired is None:
        return
    both = summary.paired
    names = ("answered by both", "same label %", "both right", "only gateway right", "only cluster right", "both wrong")
    table = grid(numbers=names)
    table.add_row(
        count(both.frames),
        percent(both.agreement),
        count(both.both_right),
        count(both.only_gateway_right),
        count(both.only_cluster_right),
        count(both.both_wrong),
    )
    p = cell(both.mcnemar_p, digits=3)
    note = (
        f"Accuracy, cluster minus gateway: {percent(both.accuracy_difference)} points "
        f"(95 % interval {interval(both.accuracy_difference_interval, times=100, digits=2)}); McNemar's p {p}."
    )
    yield from titled("The same frames on both tiers", table, note)


def _tiers(summary: Summary) -> Iterator[RenderableType]:
    names = ("results", "missing", "rejected", "copies", "reordered", "accuracy %", "results/s")
    table = grid("tier", numbers=names)
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            count(tier.results),
            count(tier.missing),
            count(tier.rejected),
            count(tier.duplicates),
            count(tier.reordered),
            percent(tier.accuracy),
            cell(tier.throughput_hz),
        )
    sure = ", ".join(
        f"{name} {interval(tier.accuracy_interval, times=100, digits=2)}" for name, tier in summary.tiers.items()
    )
    notes = (f"95 % interval of the accuracy: {sure}.",) if sure else ()
    yield from titled("Results, in frames", table, *notes)


def _costs(summary: Summary) -> Iterator[RenderableType]:
    table = grid("tier", "engine", "model", numbers=("frames/batch", "CPU s", "memory MB", "uplink MB"))
    for name, tier in summary.tiers.items():
        table.add_row(
            name,
            tier.engine or NOT_MEASURED,
            tier.model or NOT_MEASURED,
            cell(tier.batch_mean),
            cell(tier.cpu_s),
            megabytes(tier.memory_bytes, digits=0),
            megabytes(tier.uplink_bytes),
        )
    each = "; ".join(
        f"{name} {cell(tier.per_1000_correct.cpu_s, digits=2)} CPU s, "
        f"{megabytes(tier.per_1000_correct.uplink_bytes)} MB uplink"
        for name, tier in summary.tiers.items()
    )
    notes = (f"For 1,000 right answers: {each}.",) if each else ()
    yield from titled("What gave them, and its cost", table, *notes, *_modelled(summary))


def hop_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Give a row for each hop of the way: messages, and their bytes."""
    return [
        (
            f"{hop.start} to {hop.end}",
            count(hop.messages),
            megabytes(hop.size_bytes),
            _each(hop.size_bytes, hop.messages),
        )
        for hop in summary.hops
    ]


def _each(size_bytes: int, messages: int) -> str:
    return count(round(size_bytes / messages)) if messages else NOT_MEASURED


def _hops(summary: Summary) -> Iterator[RenderableType]:
    if rows := hop_rows(summary):
        table = grid("hop", numbers=HOP)
        for row in rows:
            table.add_row(*row)
        yield from titled("What travelled each hop", table)


def _modelled(summary: Summary) -> Iterator[str]:
    """Say what a tariff makes of the costs, if one was declared."""
    if (tariff := summary.tariff) is None:
        return
    each = "; ".join(
        f"{name} {cell(tier.per_1000_correct.money, digits=MONEY_DIGITS)} {tariff.currency}, "
        f"{cell(tier.per_1000_correct.energy_j)} J"
        for name, tier in summary.tiers.items()
    )
    yield f"Modelled by the tariff {tariff.name}, not measured, for 1,000 right answers: {each}."


def _latency(summary: Summary) -> Iterator[RenderableType]:
    deadline = "time" if summary.deadline_ms is None else f"{cell(summary.deadline_ms, digits=0)} ms"
    table = grid("tier", numbers=("frames", "p50", "p90", "p99", "p99.9", f"right in {deadline} %"))
    for name, tier in summary.tiers.items():
        found = tier.latency_ms
        numbers = (cell(value) for value in (found.p50, found.p90, found.p99, found.p999))
        on_time = percent(tier.on_time)
        frames = tier.results + tier.missing if tier.measured is None else tier.measured
        table.add_row(name, count(frames), *numbers, on_time)
    slowest = ", ".join(_slowest(name, tier) for name, tier in summary.tiers.items())
    known = any(tier.worst_camera for tier in summary.tiers.values())
    notes = [*sentences.latency_notes(summary), *([f"Slowest camera: {slowest}."] if known else [])]
    yield from titled("Latency from due to seen, ms", table, *notes)
    if rows := on_time_rows(summary):
        table = grid("tier", numbers=tuple(f"{ms} ms" for ms in deadlines(summary)))
        for row in rows:
            table.add_row(*row)
        yield from titled("Right and on time, % of the frames due, by deadline", table)
    stages = next(iter(summary.tiers.values())).latency_stages_ms if summary.tiers else {}
    table = grid("tier", numbers=tuple(stages))
    for name, tier in summary.tiers.items():
        table.add_row(name, *(cell(value) for value in tier.latency_stages_ms.values()))
    yield from titled("Where that time goes: the median of each step, ms", table)
    if rows := step_rows(summary):
        table = grid("from one moment to the next", numbers=tuple(summary.tiers))
        for row in rows:
            table.add_row(*row)
        yield from titled("The same, moment by moment: medians, ms", table)


def deadlines(summary: Summary) -> list[str]:
    """Give the deadlines that shares are told for, in milliseconds."""
    told = {ms for tier in summary.tiers.values() for ms in tier.on_time_within}
    return sorted(told, key=float)


def on_time_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Give each tier's share of the frames due that were answered rightly within each deadline."""
    if not (told := deadlines(summary)):
        return []
    tiers = summary.tiers.items()
    return [(name, *(percent(tier.on_time_within.get(ms)) for ms in told)) for name, tier in tiers]


def step_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Give a row for each step between two moments of a frame, with each tier's median."""
    told = dict.fromkeys(name for tier in summary.tiers.values() for name in tier.steps_ms)
    names = sorted(told, key=lambda name: MOMENTS.index(name.split(" to ")[1]))
    return [(name, *(cell(tier.steps_ms.get(name)) for tier in summary.tiers.values())) for name in names]


def _phases(summary: Summary) -> Iterator[RenderableType]:
    if not summary.phases:
        return
    numbers = ("from s", "cameras", "frames", "frames/s", *(f"{name} {p}" for name in summary.tiers for p in PHASE))
    table = grid("joined", numbers=numbers)
    for phase in summary.phases:
        table.add_row(*phase_cells(summary, phase))
    yield from titled("Phases: a fleet joined, latency from due to seen, ms", table)


def phase_cells(summary: Summary, phase: Phase) -> tuple[str, ...]:
    """Give a phase's row: who joined, when, how much was asked, and each tier's latency."""
    found = [phase.latency_ms[name] for name in summary.tiers]
    late = [cell(value) for one in found for value in (one.p50, one.p99)]
    asked = (cell(phase.begins_s), count(phase.cameras), count(phase.frames), cell(phase.scheduled_hz))
    return (", ".join(phase.joined), *asked, *late)


def _micro_batches(summary: Summary) -> Iterator[RenderableType]:
    told = {name: tier for name, tier in summary.tiers.items() if tier.micro_batch_ms is not None}
    if not told:
        return
    table = grid("tier", numbers=tuple(name.replace("_", " ") for name in MICRO_BATCH))
    for name, tier in told.items():
        steps = tier.micro_batch_ms or {}
        table.add_row(name, *(cell(steps.get(step)) for step in MICRO_BATCH))
    notes = (f"Tasks at the same time in the {name}: {count(tier.tasks)}." for name, tier in told.items())
    yield from titled("Where a micro-batch's time goes: medians, ms", table, *notes)


def _slowest(name: str, tier: TierSummary) -> str:
    """Name a tier's slowest camera, and how many are starved."""
    worst, starved = tier.worst_camera, tier.starved_cameras
    said = NOT_MEASURED
    if worst is not None:
        late = "infinite" if worst.latency_ms is None else f"{cell(worst.latency_ms)} ms"
        said = f"{worst.name} {worst.percentile} {late} ({count(worst.frames)} frames)"
    return f"{name} {said}" + (f", {count(starved)} starved" if starved else "")
