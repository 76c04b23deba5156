"""The table, counted."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from consumers.ledger import backlog, cameras, causes, clocks, hops, offsets, phases, warmup
from consumers.ledger.collect import Collected
from consumers.ledger.columns import Rows, first_due_ns, mask, measured, rows
from consumers.ledger.facts import Facts, TierFacts, different_models, said_by
from consumers.ledger.rules import RULES, remarks
from edgewise import __version__
from edgewise.account import Closing, Plan
from edgewise.arrivals import Burst
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.messages import Tier
from edgewise.statistics import (
    Floats,
    Interval,
    Mask,
    mcnemar_p,
    percentile,
    percentile_interval,
    share_difference,
    wilson,
)
from edgewise.summary import (
    Difference,
    FrameCounts,
    Images,
    Latency,
    Lateness,
    Limits,
    Paired,
    Summary,
    TierSummary,
)
from edgewise.summary import Interval as SummaryInterval
from models.card import Card

STAGES: Final = (
    ("source", "due_ns", "sent_ns"),
    ("transport", "sent_ns", "received_ns"),
    ("queue", "received_ns", "started_ns"),
    ("inference", "started_ns", "inferred_ns"),
    ("result", "inferred_ns", "seen_ns"),
)
"""Steps between the moments of a frame, in their order."""

DEADLINE_MS: Final = 500.0
"""By when an answer is on time, if nobody says otherwise."""
DEADLINES_MS: Final = (50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)
"""Others that the same is told for."""
NO_LATENESS: Final = Lateness(p50=None, p99=None, max=None)
DEFAULTS: Final = Limits()


def make(
    collected: Collected,
    table: pa.Table,
    *,
    tiers: Sequence[Tier],
    limits: Limits = DEFAULTS,
    deadline_ms: float = DEADLINE_MS,
    card: Card | None = None,
) -> Summary:
    """Count a run's table and judge it: the account and the measurement.

    Args:
        collected: the account.
        table: one row for each frame and tier that owes it.
        tiers: those that owe results.
        limits: what it is judged by.
        deadline_ms: from due to seen, by when an answer is on time.
        card: of the model, if it is known: which engines may stand for it.
    """
    found = [rows(table, tier) for tier in tiers]
    split = collected.split_seed is not None
    warm_up = warmup.find(found, limits, split=split, period_s=_period_s(collected.plans.values()))
    from_ns = first_due_ns(found) + round((warm_up.lasted_s if warm_up else 0) * SECOND_NS)
    counted = [_facts(collected, one, limits, from_ns=from_ns, deadline_ms=deadline_ms) for one in found]
    facts = Facts(
        collected=collected,
        frames=_frames(collected),
        tiers=counted,
        warm_up=warm_up,
        limits=limits,
        clocks=offsets.find(collected),
        different=different_models(found, card=card),
    )
    reasons = causes.arranged([broken for rule in RULES for broken in rule(facts)])
    both = {one.name: one for one in counted}
    fleets = [one for (part, name), one in collected.closings.items() if part == "fleet" and name in collected.plans]
    return Summary(
        run=collected.run,
        version=__version__,
        verdict="INVALID" if reasons else "VALID",
        reasons=reasons,
        remarks=list(remarks(facts)),
        limits=limits,
        deadline_ms=deadline_ms,
        warm_up=warm_up,
        clocks=dict(facts.clocks),
        phases=phases.find(list(collected.plans.values()), found, from_ns=from_ns, split=split),
        images={fleet: _images(plan) for fleet, plan in sorted(collected.plans.items())},
        frames=facts.frames,
        # Percentiles of several fleets cannot be merged; one fleet's are exact.
        lateness_ms=_lateness(fleets[0]) if len(fleets) == 1 else NO_LATENESS,
        hops=hops.find(found, split=split),
        tiers={one.name: one.summary for one in counted},
        split_seed=collected.split_seed,
        paired=_paired(both[Tier.GATEWAY], both[Tier.CLUSTER]) if set(Tier) <= set(tiers) and not split else None,
    )


def _period_s(plans: Iterable[Plan]) -> float:
    """Give the longest time after which bursts come again; 0 without any."""
    return max((plan.arrival.on_s + plan.arrival.off_s for plan in plans if isinstance(plan.arrival, Burst)), default=0)


def _frames(collected: Collected) -> FrameCounts:
    counts: Counter[str] = Counter()
    for camera in collected.cameras.values():
        for fate in ("sent", "confirmed", "unheard", "refused", "dropped"):
            counts[fate] += sum(last - first + 1 for first, last in getattr(camera, fate))
    told = collected.cameras and collected.fleets_closed()
    return FrameCounts(
        scheduled=sum(plan.frames_together() for plan in collected.plans.values()),
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


def _images(plan: Plan) -> Images:
    return Images(
        dataset=plan.dataset,
        split=plan.split,
        images=plan.images,
        sha256=plan.dataset_sha256,
        skipped=plan.skipped,
    )


def _lateness(closing: Closing) -> Lateness:
    """Read what a fleet said of its lateness; not measured if it said none, or something else."""
    try:
        return Lateness.model_validate(closing.summary.get("lateness_ms"), strict=True)
    except ValidationError:
        return NO_LATENESS


def _facts(collected: Collected, found: Rows, limits: Limits, *, from_ns: int, deadline_ms: float) -> TierFacts:
    """Count one tier, and look at it as the rules want it."""
    which = measured(found, from_ns=from_ns)
    impossible = clocks.find(found, limits)
    counted = _tier(collected, found, which, from_ns=from_ns, deadline_ms=deadline_ms)
    of_measured = cameras.by_camera(found, which)
    starved = cameras.starved(found, of_measured, limits)
    codes, names = found.codes("camera")
    counted.worst_camera = cameras.worst(of_measured)
    counted.starved_cameras = len(starved)
    counted.starved_names = [names[code] for code in starved[: cameras.NAMED]]
    counted.backlog = backlog.find(found, which, limits)
    counted.impossible_steps = dict(impossible.by_step) if impossible else {}
    return TierFacts(
        rows=found,
        measured=which,
        summary=counted,
        impossible=impossible,
        of_starved=np.isin(codes, starved),
        latency_grew=backlog.latency_grew(found, which),
        said=said_by(collected, found.tier),
    )


def _tier(collected: Collected, found: Rows, which: Mask, *, from_ns: int, deadline_ms: float) -> TierSummary:
    table = found.table
    owed = table.filter(pa.array(found.owed & ~found.answered))["fate"].value_counts().to_pylist()
    missing = {one["values"]: one["counts"] for one in owed}
    answered = table.filter(pa.array(found.answered))
    correct, judged = int(found.correct.sum()), len(answered) - answered["correct"].null_count
    rejected = collected.rejected(found.tier.value)
    # A frame travels to the cluster whether it is answered or not; a result only where there is one.
    sent_up = answered["result_bytes"] if found.tier is Tier.GATEWAY else table["size_bytes"]
    counted = TierSummary(
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
        accuracy_interval=_interval(wilson(correct, judged), digits=5),
        measured=int(which.sum()),
        on_time=_on_time(found, from_ns=from_ns, deadline_ms=deadline_ms),
        on_time_within={
            f"{other_ms:g}": share
            for other_ms in sorted({*DEADLINES_MS, deadline_ms})
            if (share := _on_time(found, from_ns=from_ns, deadline_ms=other_ms)) is not None
        },
        throughput_hz=_throughput_hz(found),
        latency_ms=_latency(found.latency_ms[which]),
        latency_stages_ms={name: _median_ms(found, which, start, end) for name, start, end in STAGES},
        steps_ms={step.name: _middle_ms(clocks.taken_ns(found, step)[which]) for step in clocks.steps(found.tier)},
        batch_mean=round(float(pc.mean(answered["batch"]).as_py()), 2) if answered.num_rows else None,
        tasks=pc.max(answered["tasks"]).as_py(),
        cpu_s=None,
        memory_bytes=None,
        uplink_bytes=int(pc.sum(sent_up).as_py() or 0),
        late_readings=collected.late_readings(found.tier),
    )
    counted.cost(cpu_s=None)
    return counted


def _latency(values_ms: Floats) -> Latency:
    """Give the percentiles; a missing frame is infinitely late, not left out."""
    return Latency(
        p50=percentile(values_ms, 50),
        p90=percentile(values_ms, 90),
        p99=percentile(values_ms, 99),
        p999=percentile(values_ms, 99.9),
    )


def _on_time(found: Rows, *, from_ns: int, deadline_ms: float) -> float | None:
    """Give the share of the frames offered that were answered rightly in time; None if nothing is known to be right."""
    offered = found.due_ns >= from_ns
    if not offered.any() or (found.answered.any() and found.table["correct"].null_count == len(offered)):
        return None
    return round(float((found.correct & (found.latency_ms <= deadline_ms))[offered].mean()), 6)


def _paired(gateway: TierFacts, cluster: TierFacts) -> Paired:
    """Set the two tiers' answers to the same frames beside one another: their rows come in the order of the frames."""
    one, other = gateway.rows, cluster.rows
    both = one.answered & other.answered
    frames = int(both.sum())
    same = int((mask(pc.equal(one.table["label"], other.table["label"])) & both).sum())
    judged = both & mask(pc.and_(*(pc.is_valid(found.table["correct"]) for found in (one, other))))
    rights = int(judged.sum())
    only_one, only_other = (
        int((judged & right & ~wrong).sum())
        for right, wrong in ((one.correct, other.correct), (other.correct, one.correct))
    )
    both_right = int((judged & one.correct & other.correct).sum())
    compared = both & gateway.measured & cluster.measured
    later_ms = other.latency_ms[compared] - one.latency_ms[compared]
    return Paired(
        frames=frames,
        agreement=same / frames if frames else None,
        both_right=both_right,
        only_gateway_right=only_one,
        only_cluster_right=only_other,
        both_wrong=rights - both_right - only_one - only_other,
        accuracy_difference=(only_other - only_one) / rights if rights else None,
        accuracy_difference_interval=_interval(share_difference(only_one, only_other, of=rights), digits=6),
        mcnemar_p=mcnemar_p(only_one, only_other) if rights else None,
        latency_difference_ms=Difference(
            p50=percentile(later_ms, 50),
            p90=percentile(later_ms, 90),
            p50_interval=_interval(percentile_interval(later_ms, 50), digits=3),
        ),
        measured=len(later_ms),
    )


def _interval(found: Interval | None, *, digits: int) -> SummaryInterval | None:
    return found and SummaryInterval(low=round(found.low, digits), high=round(found.high, digits))


def _median_ms(found: Rows, which: Mask, start: str, end: str) -> float | None:
    some = which & found.answered
    steps_ns = (found.moments(end) - found.moments(start))[some]
    return round(float(np.median(steps_ns)) / MILLISECOND_NS, 3) if len(steps_ns) else None


def _middle_ms(took_ns: Floats) -> float | None:
    known = took_ns[~np.isnan(took_ns)]
    return round(float(np.median(known)) / MILLISECOND_NS, 3) if len(known) else None


def _one(answered: pa.Table, name: str) -> str | None:
    """Give the column's one value, or all of them with commas."""
    return ", ".join(sorted(pc.unique(answered[name]).to_pylist())) or None


def _throughput_hz(found: Rows) -> float | None:
    if not found.answered.any():
        return None
    took_s = int(found.seen_ns[found.answered].max() - found.due_ns[found.answered].min()) / SECOND_NS
    return round(int(found.answered.sum()) / took_s, 2) if took_s > 0 else None
