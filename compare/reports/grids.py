"""A run's numbers as tables of its page, written as the text report writes them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from compare.reports import report
from compare.reports.curves import Series
from edgewise.show import NOT_MEASURED, cell, count, interval, megabytes, percent
from edgewise.summary import Summary, TierSummary

NOT_SET: Final = "not set"
"""A setting that has no value."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of the page; the first cell of a row names the row."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: bool = False
    """Its cells are words, and no numbers."""


def measured(tier: TierSummary) -> int:
    """Say of how many frames a tier's latencies are."""
    return tier.results + tier.missing if tier.measured is None else tier.measured


def latency(summary: Summary) -> Grid:
    """Give the percentiles, and how many answers were in time."""
    rows = []
    for name, tier in summary.tiers.items():
        found = tier.latency_ms
        numbers = [cell(value) for value in (found.p50, found.p90, found.p99, found.p999)]
        on_time = [] if summary.deadline_ms is None else [percent(tier.on_time)]
        rows.append((name, count(measured(tier)), *numbers, *on_time))
    head = ["tier", "frames", "p50", "p90", "p99", "p99.9"]
    if summary.deadline_ms is not None:
        head.append(f"right within {cell(summary.deadline_ms, digits=0)} ms, %")
    return Grid("Latency from due to seen, ms", head, rows)


def on_time(summary: Summary) -> Iterator[Grid]:
    """Give the share answered rightly within each of several deadlines."""
    if rows := report.on_time_rows(summary):
        head = ("tier", *(f"{ms} ms" for ms in report.deadlines(summary)))
        yield Grid("Right and on time, % of the frames due, by deadline", head, rows)


def phases(summary: Summary) -> Iterator[Grid]:
    """Give what changed as fleets joined, if more than one did."""
    if summary.phases:
        late = (f"{name} {which}" for name in summary.tiers for which in report.PHASE)
        head = ["joined", "from s", "cameras", "frames", "frames/s", *late]
        rows = [report.phase_cells(summary, phase) for phase in summary.phases]
        yield Grid("Phases: a fleet joined, latency in ms", head, rows)


def cameras(summary: Summary) -> Iterator[Grid]:
    """Give the camera that waited longest, and those that were forgotten."""
    rows = []
    for name, tier in summary.tiers.items():
        worst = tier.worst_camera
        if worst is None and tier.starved_cameras is None:
            continue
        said = (NOT_MEASURED,) * 4
        if worst is not None:
            late = "infinite" if worst.latency_ms is None else cell(worst.latency_ms)
            said = (worst.name, worst.percentile, late, count(worst.frames))
        rows.append((name, *said, count(tier.starved_cameras), ", ".join(tier.starved_names) or "none"))
    head = ("tier", "slowest camera", "percentile", "latency ms", "frames", "starved cameras", "among them")
    if rows:
        yield Grid("Camera by camera", head, rows)


def backlog(summary: Summary) -> Iterator[Grid]:
    """Give how fast the outstanding frames grew."""
    told = {name: tier.backlog for name, tier in summary.tiers.items() if tier.backlog is not None}
    rows = [
        (name, *(cell(hz, digits=2) for hz in (found.slope_hz, found.lower_hz, found.upper_hz, found.offered_hz)))
        for name, found in told.items()
    ]
    head = ("tier", "growth", "95 % lower bound", "95 % upper bound", "offered")
    if rows:
        yield Grid("Growth of the outstanding frames after the warm-up, frames a second", head, rows)


def impossible_steps(summary: Summary) -> Iterator[Grid]:
    """Give the frames whose moments contradict one another: clocks differ."""
    rows = [
        (f"{name}: {step}", count(number))
        for name, tier in summary.tiers.items()
        for step, number in tier.impossible_steps.items()
    ]
    if rows:
        yield Grid("A moment before the one that it follows: clocks differ", ("tier and step", "frames"), rows)


def stages(summary: Summary) -> Grid:
    """Give the medians of the steps."""
    names = list(dict.fromkeys(name for tier in summary.tiers.values() for name in tier.latency_stages_ms))
    rows = [
        (tier_name, *(cell(tier.latency_stages_ms.get(name)) for name in names))
        for tier_name, tier in summary.tiers.items()
    ]
    return Grid("The median of each step, ms", ("tier", *names), rows)


def steps(summary: Summary) -> Iterator[Grid]:
    """Give the medians from each moment of a frame to the next."""
    if rows := report.step_rows(summary):
        yield Grid("From one moment of a frame to the next, median, ms", ("step", *summary.tiers), rows)


def micro_batches(summary: Summary) -> Iterator[Grid]:
    """Give the medians of a micro-batch's steps, where a tier works in such."""
    told = {name: tier.micro_batch_ms for name, tier in summary.tiers.items() if tier.micro_batch_ms is not None}
    rows = [(name, *(cell(steps.get(step)) for step in report.MICRO_BATCH)) for name, steps in told.items()]
    head = ("tier", *(step.replace("_", " ") for step in report.MICRO_BATCH))
    if rows:
        yield Grid("The median of each step of a micro-batch, ms", head, rows)


def accuracy(summary: Summary) -> Grid:
    """Give how often each tier was right."""
    rows = [
        (
            name,
            *(count(tier.results), count(tier.correct), percent(tier.accuracy)),
            interval(tier.accuracy_interval, times=100, digits=2),
        )
        for name, tier in summary.tiers.items()
    ]
    return Grid("Accuracy", ("tier", "results", "correct", "accuracy %", "95 % interval"), rows)


def paired(summary: Summary) -> Iterator[Grid]:
    """Give what both tiers said of the same frames, if there were two."""
    both = summary.paired
    if both is None:
        return
    numbers = (both.both_right, both.only_gateway_right, both.only_cluster_right, both.both_wrong)
    names = ("both right", "only gateway right", "only cluster right", "both wrong")
    rows = [
        ("answered by both", count(both.frames)),
        ("same label %", percent(both.agreement)),
        *((name, count(number)) for name, number in zip(names, numbers, strict=True)),
        ("accuracy, cluster minus gateway, percentage points", percent(both.accuracy_difference)),
        ("its 95 % interval", interval(both.accuracy_difference_interval, times=100, digits=2)),
        ("McNemar's p: equally right, so different by chance", cell(both.mcnemar_p, digits=3)),
    ]
    yield Grid("The same frames on both tiers", ("of the same frames", "number"), rows)


def source_counts(summary: Summary) -> Grid:
    """Give what was lost before the tiers part."""
    frames = summary.frames
    rows = [
        ("dropped at source", count(frames.dropped_at_source)),
        ("refused by the MQTT broker", count(frames.refused)),
        ("unheard: nobody subscribed", count(frames.unheard)),
        ("confirmed, never bridged", count(frames.never_bridged)),
        ("rejected by the bridge", count(frames.rejected)),
        ("copies in Kafka, counted once", count(frames.bridged_copies)),
    ]
    return Grid("Lost or doubled on the way to Kafka", ("what", "frames"), rows)


def result_counts(summary: Summary) -> Grid:
    """Give what each tier made of the frames."""
    rows = [
        (
            name,
            *map(count, (tier.results, tier.missing, tier.rejected, tier.duplicates, tier.reordered)),
            cell(tier.throughput_hz),
        )
        for name, tier in summary.tiers.items()
    ]
    head = ("tier", "results", "missing", "rejected", "copies", "reordered", "results/s")
    return Grid("Results, in frames", head, rows)


def missing(summary: Summary) -> Iterator[Grid]:
    """Give where missing frames were seen last and why others were rejected, if there are any."""
    rows = [
        (f"{name}: {place}", count(number))
        for name, tier in summary.tiers.items()
        for place, number in [*tier.missing_by_last_place.items(), *_rejected(tier.rejected_by_rule)]
    ]
    if rows:
        yield Grid("Missing or rejected: where they were seen last, and why", ("tier and place", "frames"), rows)


def _rejected(by_rule: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    for rule, number in by_rule.items():
        yield f"rejected, {rule}", number


def lateness(summary: Summary) -> str:
    """Say how late frames left their cameras."""
    late = summary.lateness_ms
    found = (("p50", late.p50), ("p99", late.p99), ("max", late.max))
    said = "Sent late by, ms: " + ", ".join(f"{name} {cell(value, digits=2)}" for name, value in found) + "."
    return " ".join([said, *report.asked_of_cameras(summary), *report.own_pictures(summary)])


def periods(found: Series) -> Grid:
    """Give a time series."""
    head, columns = ["from second", "offered/s"], [found.offered_hz]
    for name, one in found.tiers.items():
        head += [f"{name} results/s", f"{name} outstanding", f"{name} p50 ms"]
        columns += [one.results_hz, one.outstanding.astype(np.float64), one.p50_ms]
        if found.high is not None:
            head.append(f"{name} p{found.high:g} ms")
            columns.append(one.high_ms)
    whole = {place for place, name in enumerate(head) if name.endswith("outstanding")}
    rows = []
    for place, start_s in enumerate(found.start_s):
        values = (column[place] for column in columns)
        rows.append(
            (
                f"{start_s:,.0f}",
                *(_of_period(value, digits=0 if at in whole else 1) for at, value in enumerate(values, 1)),
            )
        )
    return Grid(f"Every {found.period_s} s", head, rows)


def _of_period(value: float, *, digits: int) -> str:
    if np.isinf(value):
        return "infinite"
    return cell(None if np.isnan(value) else value, digits=digits)


def costs(summary: Summary) -> Grid:
    """Give what each tier worked with, what it took, and what that costs by a tariff if one was declared."""
    tariff = summary.tariff
    rows = [
        (
            name,
            tier.engine or NOT_MEASURED,
            tier.model or NOT_MEASURED,
            count(tier.tasks),
            cell(tier.batch_mean),
            cell(tier.cpu_s),
            megabytes(tier.memory_bytes, digits=0),
            megabytes(tier.uplink_bytes),
            cell(tier.per_1000_correct.cpu_s, digits=2),
            megabytes(tier.per_1000_correct.uplink_bytes),
            *(() if tariff is None else _modelled(tier)),
        )
        for name, tier in summary.tiers.items()
    ]
    head = ("tier", "engine", "model", "tasks", "frames/batch", "CPU s", "memory MB", "uplink MB")
    per: tuple[str, ...] = ("CPU s per 1,000 right", "uplink MB per 1,000 right")
    if tariff is not None:
        per = (*per, *(f"{unit} per 1,000 right, modelled by tariff {tariff.name}" for unit in (tariff.currency, "J")))
    return Grid("What gave the results, and its cost", (*head, *per), rows)


def _modelled(tier: TierSummary) -> tuple[str, str]:
    each = tier.per_1000_correct
    return cell(each.money, digits=report.MONEY_DIGITS), cell(each.energy_j)


def hops(summary: Summary) -> Iterator[Grid]:
    """Give what travelled each hop of the way."""
    if rows := report.hop_rows(summary):
        yield Grid("What travelled each hop, without what MQTT and Kafka add", ("hop", *report.HOP), rows)


def part_costs(manifest: Mapping[str, Any]) -> Iterator[Grid]:
    """Give what each process took, as it accounted for itself."""
    rows = []
    for part, ran in manifest.get("parts", {}).items():
        for account in ran.get("accounts") or [{}]:
            cpu_s, start_s = account.get("cpu_s"), account.get("cpu_start_s")
            rows.append((part, cell(cpu_s), cell(start_s), megabytes(account.get("memory_bytes"), digits=0)))
    if rows:
        yield Grid(
            "Each process, as it accounted for itself", ("part", "CPU s", "CPU s of its start", "memory MB"), rows
        )


def manifest_grids(summary: Summary, manifest: Mapping[str, Any]) -> Iterator[Grid]:
    """Give what ran, where, with which settings and seeds, on which model and data."""
    host, scenario = manifest.get("host", {}), manifest.get("scenario", {})
    ran = {
        "run": summary.run,
        "version": summary.version,
        "commit": manifest.get("commit") or NOT_MEASURED,
        "Python": host.get("python", NOT_MEASURED),
        **{f"model of the {name}": tier.model or NOT_MEASURED for name, tier in summary.tiers.items()},
        "data set, SHA-256": scenario.get("dataset_sha256", NOT_MEASURED),
    }
    yield _named("What ran", ran)
    if host:
        where = {
            name.replace("_", " "): value for name, value in host.items() if name not in {"memory_bytes", "python"}
        }
        yield _named("Where", where | {"memory MB": megabytes(host.get("memory_bytes"), digits=0)})
    if summary.limits is not None:
        judged = summary.limits.model_dump() | {"deadline_ms": summary.deadline_ms}
        yield _named("Judged by", {name.replace("_", " "): value for name, value in judged.items()})
    if files := manifest.get("files"):
        yield _named("Result files, SHA-256", files)
    if scenario:
        yield _named("Settings and seeds", {name.replace("_", " "): value for name, value in scenario.items()})


def packages(manifest: Mapping[str, Any]) -> Iterator[Grid]:
    """Give the version of every package that was installed."""
    if found := manifest.get("packages"):
        yield _named("Packages", found)


def _named(caption: str, values: Mapping[str, Any]) -> Grid:
    return Grid(caption, ("name", "value"), [(name, _setting(value)) for name, value in values.items()], words=True)


def _setting(value: object) -> str:
    """Write a setting as it stands in the manifest."""
    if value is None or value == "":
        return NOT_SET
    if isinstance(value, list) and not any(isinstance(one, list | dict) for one in value):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
