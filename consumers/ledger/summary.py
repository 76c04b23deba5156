"""The table, counted."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from consumers.ledger.collect import Collected
from consumers.ledger.table import NOT_SENT, Fate
from edgewise import __version__, dataset
from edgewise.account import Closing
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.messages import Tier
from edgewise.summary import (
    Difference,
    FrameCounts,
    Latency,
    Lateness,
    Paired,
    Reason,
    Summary,
    TierSummary,
)

SAMPLES_NEEDED: Final = {50: 7, 90: 44, 99: 459, 99.9: 4_603}
"""The fewest samples whose largest is above the percentile with 99 % confidence: ln 0.01 / ln p."""

STAGES: Final = (
    ("source", "due_ns", "sent_ns"),
    ("transport", "sent_ns", "received_ns"),
    ("queue", "received_ns", "started_ns"),
    ("inference", "started_ns", "inferred_ns"),
    ("result", "inferred_ns", "seen_ns"),
)
"""Steps between the moments of a frame, in their order."""

NO_LATENESS: Final = Lateness(p50=None, p99=None, max=None)


def percentile(values: NDArray[np.float64], share: float) -> float | None:
    """Give an exact percentile (nearest rank), or None if there are too few samples or it is infinite."""
    if len(values) < SAMPLES_NEEDED[share]:
        return None
    # Rounded first: 99.9 % of 5,000 is 4,995, and not the hair more that floats make of it.
    rank = math.ceil(round(len(values) * share / 100, 6))
    found = float(np.partition(values, rank - 1)[rank - 1])
    return None if math.isinf(found) else round(found, 3)


def make(collected: Collected, table: pa.Table, *, tiers: Sequence[Tier]) -> Summary:
    """Count a run's table and judge the account: nothing missing, nothing rejected."""
    summaries = {tier.value: _tier(collected, table, tier) for tier in tiers}
    frames = _frames(collected)
    reasons = [*_reasons(collected, frames), *_table_reasons(table, tiers), *_tier_reasons(frames, summaries)]
    # The first reason is the cause, if all that is missing is missing for it.
    places = {place for tier in summaries.values() for place in tier.missing_by_last_place}
    lost = list(_never_bridged(frames))
    reasons = [*lost, *reasons] if places <= {Fate.UNBRIDGED.value} else [*reasons, *lost]
    fleets = [
        found for (part, name), found in collected.closings.items() if part == "fleet" and name in collected.plans
    ]
    return Summary(
        run=collected.run,
        version=__version__,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        frames=frames,
        # Percentiles of several fleets cannot be merged; one fleet's are exact.
        lateness_ms=_lateness(fleets[0]) if len(fleets) == 1 else NO_LATENESS,
        tiers=summaries,
        paired=_paired(table) if set(Tier) <= set(tiers) else None,
    )


def _frames(collected: Collected) -> FrameCounts:
    counts: Counter[str] = Counter()
    for camera in collected.cameras.values():
        for fate in ("sent", "confirmed", "unheard", "refused", "dropped"):
            counts[fate] += sum(last - first + 1 for first, last in getattr(camera, fate))
    told = collected.cameras and collected.fleets_closed()
    return FrameCounts(
        scheduled=sum(plan.cameras * plan.frames for plan in collected.plans.values()),
        sent=counts["sent"] if told else None,
        confirmed=counts["confirmed"] if told else None,
        unheard=counts["unheard"] if told else None,
        refused=counts["refused"] if told else None,
        dropped_at_source=counts["dropped"] if told else None,
        bridged=collected.planned(collected.bridged),
        bridged_copies=collected.bridged_copies,
        never_bridged=collected.never_bridged() if told else None,
        rejected=collected.rejected("bridge").total(),
    )


def _lateness(closing: Closing) -> Lateness:
    """Read what a fleet said of its lateness; not measured if it said none, or something else."""
    try:
        return Lateness.model_validate(closing.summary.get("lateness_ms"), strict=True)
    except ValidationError:
        return NO_LATENESS


def _tier(collected: Collected, table: pa.Table, tier: Tier) -> TierSummary:
    rows = table.filter(pc.equal(table["tier"], tier.value))
    fates = {found["values"]: found["counts"] for found in rows["fate"].value_counts().to_pylist()}
    answered = rows.filter(pc.equal(rows["fate"], Fate.ANSWERED.value))
    missing = {fate: count for fate, count in fates.items() if fate != Fate.ANSWERED and fate not in NOT_SENT}
    correct, judged = int(pc.sum(answered["correct"]).as_py() or 0), pc.count(answered["correct"]).as_py()
    latency_ms = _column(answered, "latency_ns") / MILLISECOND_NS
    # A missing frame is infinitely late, not left out.
    whole_ms = np.concatenate([latency_ms, np.full(sum(missing.values()), np.inf)])
    rejected = collected.rejected(tier.value)
    # A frame travels to the cluster whether it is answered or not; a result only where there is one.
    sent_up = answered["result_bytes"] if tier is Tier.GATEWAY else rows["size_bytes"]
    return TierSummary(
        engine=_one(answered, "engine"),
        model=_one(answered, "model"),
        results=answered.num_rows,
        missing=sum(missing.values()),
        missing_by_last_place=missing,
        duplicates=int(pc.sum(answered["copies"]).as_py() or 0),
        reordered=int(pc.sum(answered["reordered"]).as_py() or 0),
        rejected=rejected.total(),
        rejected_by_rule=dict(rejected),
        correct=correct,
        accuracy=correct / judged if judged else None,
        throughput_hz=_throughput_hz(answered),
        latency_ms=Latency(
            p50=percentile(whole_ms, 50),
            p90=percentile(whole_ms, 90),
            p99=percentile(whole_ms, 99),
            p999=percentile(whole_ms, 99.9),
        ),
        latency_stages_ms={name: _median_ms(answered, start, end) for name, start, end in STAGES},
        batch_mean=round(float(_column(answered, "batch").mean()), 2) if answered.num_rows else None,
        tasks=pc.max(answered["tasks"]).as_py(),
        cpu_s=None,
        memory_bytes=None,
        uplink_bytes=int(pc.sum(sent_up).as_py() or 0),
        late_readings=collected.planned(collected.tiers[tier].stamped),
    )


def _paired(table: pa.Table) -> Paired:
    """Set the two tiers' answers to the same frames beside one another."""
    # The rows of both tiers come in the order of the frames.
    gateway, cluster = (table.filter(pc.equal(table["tier"], tier.value)) for tier in (Tier.GATEWAY, Tier.CLUSTER))
    answered = pc.and_(*(pc.equal(rows["fate"], Fate.ANSWERED.value) for rows in (gateway, cluster)))
    gateway, cluster = gateway.filter(answered), cluster.filter(answered)
    frames = gateway.num_rows
    same = int(pc.sum(pc.equal(gateway["label"], cluster["label"])).as_py() or 0)
    judged = pc.and_(*(pc.is_valid(rows["correct"]) for rows in (gateway, cluster)))
    right = Counter(zip(*(rows.filter(judged)["correct"].to_pylist() for rows in (gateway, cluster)), strict=True))
    later_ms = (_column(cluster, "latency_ns") - _column(gateway, "latency_ns")) / MILLISECOND_NS
    return Paired(
        frames=frames,
        agreement=same / frames if frames else None,
        both_right=right[True, True],
        only_gateway_right=right[True, False],
        only_cluster_right=right[False, True],
        both_wrong=right[False, False],
        latency_difference_ms=Difference(p50=percentile(later_ms, 50), p90=percentile(later_ms, 90)),
    )


def _column(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(rows[name].drop_null().to_numpy(), dtype=np.float64)


def _median_ms(answered: pa.Table, start: str, end: str) -> float | None:
    steps_ns = pc.subtract(answered[end], answered[start]).drop_null().to_numpy()
    return round(float(np.median(steps_ns)) / MILLISECOND_NS, 3) if len(steps_ns) else None


def _one(answered: pa.Table, name: str) -> str | None:
    """Give the column's one value, or all of them with commas."""
    return ", ".join(sorted(pc.unique(answered[name]).to_pylist())) or None


def _throughput_hz(answered: pa.Table) -> float | None:
    if not answered.num_rows:
        return None
    first_ns, last_ns = pc.min(answered["due_ns"]).as_py(), pc.max(answered["seen_ns"]).as_py()
    return round(answered.num_rows / ((last_ns - first_ns) / SECOND_NS), 2) if last_ns > first_ns else None


def _reasons(collected: Collected, frames: FrameCounts) -> Iterator[Reason]:
    """Give the rules broken before the tiers part."""
    if not collected.plans:
        yield Reason(
            rule="plan", found=0, limit=1, next=f"no fleet wrote a plan for run {collected.run!r}; look at --run"
        )
    elif not collected.fleets_closed():
        yield Reason(rule="account", found="no closing account", limit="one a fleet", next="see the fleet's log")
    if frames.dropped_at_source:
        follow = (
            "the MQTT broker or this machine was too slow for the schedule, or the fleet was stopped; "
            "lower --rate-hz or --cameras, or give it more time: --drop-after-s"
        )
        yield Reason(rule=Fate.DROPPED.value, found=frames.dropped_at_source, limit=0, next=follow)
    if frames.rejected:
        yield Reason(
            rule="rejected by the bridge", found=frames.rejected, limit=0, next="edgewise tail frames-rejected"
        )


def _table_reasons(table: pa.Table, tiers: Sequence[Tier]) -> Iterator[Reason]:
    """Give the rules broken that each row tells."""
    if tiers and (unknown := table.filter(pc.equal(table["tier"], tiers[0].value))["truth"].null_count):
        follow = (
            f"the plan's split is not {dataset.NAME}'s by its SHA-256; let the fleet and the ledger use the same kit"
        )
        yield Reason(rule="other data set", found=unknown, limit=0, next=follow)
    for tier in tiers:
        rows = table.filter(pc.equal(table["tier"], tier.value))
        if wrong := int(pc.sum(pc.invert(rows["right_image"])).as_py() or 0):
            follow = "a result must name the image of its frame; the frames are in frames.parquet, column right_image"
            yield Reason(rule=f"wrong image in {tier.value}", found=wrong, limit=0, next=follow)


def _tier_reasons(frames: FrameCounts, tiers: dict[str, TierSummary]) -> Iterator[Reason]:
    """Give the rules that tiers broke."""
    for name, tier in tiers.items():
        if tier.missing:
            worst = max(tier.missing_by_last_place, key=tier.missing_by_last_place.__getitem__)
            follow = f"most were last seen: {worst}; the frames are in frames.parquet, column fate"
            yield Reason(rule=f"missing in {name}", found=tier.missing, limit=0, next=follow)
        elif frames.scheduled and not tier.results:
            follow = "no frame was sent, so none could be answered: see the reasons before"
            yield Reason(rule=f"no results in {name}", found=0, limit="at least 1", next=follow)
        if tier.rejected:
            follow = "see why: edgewise tail frames-rejected"
            yield Reason(rule=f"rejected by {name}", found=tier.rejected, limit=0, next=follow)


def _never_bridged(frames: FrameCounts) -> Iterator[Reason]:
    """Say that frames are not in Kafka: a tier that has them from MQTT answers them nevertheless."""
    if frames.never_bridged:
        follow = "the bridge or the MQTT broker lost them: see the bridge's log, and edgewise tail frames-rejected"
        yield Reason(rule=Fate.UNBRIDGED.value, found=frames.never_bridged, limit=0, next=follow)
