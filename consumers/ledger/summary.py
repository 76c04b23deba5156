"""The table, counted."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from consumers.ledger.collect import Collected
from consumers.ledger.table import NOT_SENT, Fate
from edgewise import __version__
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.messages import Tier
from edgewise.summary import FrameCounts, Latency, Lateness, Reason, Summary, TierSummary

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
    reasons = list(_reasons(collected, frames, summaries))
    late_ms = [found.summary["lateness_ms"] for (part, _), found in collected.closings.items() if part == "fleet"]
    return Summary(
        run=collected.run,
        version=__version__,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        frames=frames,
        # Percentiles of several fleets cannot be merged; one fleet's are exact.
        lateness_ms=Lateness(**late_ms[0]) if len(late_ms) == 1 else Lateness(p50=None, p99=None, max=None),
        tiers=summaries,
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
        rejected=collected.rejected("bridge").total(),
    )


def _tier(collected: Collected, table: pa.Table, tier: Tier) -> TierSummary:
    rows = table.filter(pc.equal(table["tier"], tier.value))
    fates = Counter(rows["fate"].to_pylist())
    answered = rows.filter(pc.equal(rows["fate"], Fate.ANSWERED.value))
    missing = {fate: count for fate, count in fates.items() if fate != Fate.ANSWERED and fate not in NOT_SENT}
    correct = int(pc.sum(answered["correct"]).as_py() or 0)
    latency_ms = _column(answered, "latency_ns") / MILLISECOND_NS
    # A missing frame is infinitely late, not left out.
    whole_ms = np.concatenate([latency_ms, np.full(sum(missing.values()), np.inf)])
    rejected = collected.rejected(tier.value)
    uplink = "result_bytes" if tier is Tier.GATEWAY else "size_bytes"
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
        accuracy=correct / answered.num_rows if answered.num_rows else None,
        throughput_hz=_throughput_hz(answered),
        latency_ms=Latency(
            p50=percentile(whole_ms, 50),
            p90=percentile(whole_ms, 90),
            p99=percentile(whole_ms, 99),
            p999=percentile(whole_ms, 99.9),
        ),
        latency_stages_ms={name: _median_ms(answered, start, end) for name, start, end in STAGES},
        batch_mean=round(float(_column(answered, "batch").mean()), 2) if answered.num_rows else None,
        cpu_s=None,
        memory_bytes=None,
        uplink_bytes=int(pc.sum(answered[uplink]).as_py() or 0),
        late_readings=int(pc.sum(pc.less(answered["result_appended_ns"], collected.in_time_ns())).as_py() or 0),
    )


def _column(rows: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(rows[name].drop_null().to_numpy(), dtype=np.float64)


def _median_ms(answered: pa.Table, start: str, end: str) -> float | None:
    steps_ns = pc.subtract(answered[end], answered[start]).drop_null().to_numpy()
    return round(float(np.median(steps_ns)) / MILLISECOND_NS, 3) if len(steps_ns) else None


def _one(answered: pa.Table, name: str) -> str | None:
    """Give the column's one value, or all of them with commas."""
    return ", ".join(sorted(set(answered[name].to_pylist()))) or None


def _throughput_hz(answered: pa.Table) -> float | None:
    if not answered.num_rows:
        return None
    first_ns, last_ns = pc.min(answered["due_ns"]).as_py(), pc.max(answered["seen_ns"]).as_py()
    return round(answered.num_rows / ((last_ns - first_ns) / SECOND_NS), 2) if last_ns > first_ns else None


def _reasons(collected: Collected, frames: FrameCounts, tiers: dict[str, TierSummary]) -> Iterator[Reason]:
    if not collected.plans:
        yield Reason(
            rule="plan", found=0, limit=1, next=f"no fleet wrote a plan for run {collected.run!r}; look at --run"
        )
    elif not collected.fleets_closed():
        yield Reason(rule="account", found="no closing account", limit="one a fleet", next="see the fleet's log")
    if frames.rejected:
        yield Reason(
            rule="rejected by the bridge", found=frames.rejected, limit=0, next="edgewise tail frames-rejected"
        )
    for name, tier in tiers.items():
        if tier.missing:
            worst = max(tier.missing_by_last_place, key=tier.missing_by_last_place.__getitem__)
            follow = f"most were last seen: {worst}; the frames are in frames.parquet, column fate"
            yield Reason(rule=f"missing in {name}", found=tier.missing, limit=0, next=follow)
        if tier.rejected:
            follow = "see why: edgewise tail frames-rejected"
            yield Reason(rule=f"rejected by {name}", found=tier.rejected, limit=0, next=follow)
