"""Rules about who keeps pace: cameras with their schedule, tiers with the cameras, the ledger with the tiers."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from consumers.ledger.causes import Broken, Found
from consumers.ledger.collect import NEVER
from consumers.ledger.facts import Facts, TierFacts
from consumers.ledger.table import Fate
from edgewise.clock import MILLISECOND_NS
from edgewise.statistics import SAMPLES_NEEDED, percentile
from edgewise.summary import Reason

LATE: Final = "late generator"
SLOW_LEDGER: Final = "slow ledger"
BACKLOG: Final = "growing backlog"


def slow_ledger(facts: Facts) -> Found:
    """Want a ledger that sees results as they come: what it is late by stands in every latency of both tiers."""
    for tier in facts.tiers:
        late_ms = _seen_late_ms(tier)
        if late_ms is not None and late_ms > facts.limits.ledger_ms:
            follow = (
                "99 % of the results were seen no later than that after Kafka had them: this machine is too slow for "
                "the ledger beside all else; lower the rate, or run it on another one"
            )
            reason = Reason(
                rule=f"{SLOW_LEDGER} for {tier.name}",
                found=late_ms,
                limit=facts.limits.ledger_ms,
                unit="ms",
                next=follow,
            )
            yield Broken(reason, frozenset(facts.in_each(BACKLOG)))


def _seen_late_ms(tier: TierFacts) -> float | None:
    """Give the p99 of how long the measured results were in Kafka before the ledger saw them; the median of few."""
    stored_ns, seen_ns = tier.rows.moments("result_appended_ns"), tier.rows.seen_ns
    late_ms = (seen_ns - stored_ns)[tier.measured & tier.rows.answered] / MILLISECOND_NS
    return percentile(late_ms, 99 if len(late_ms) >= SAMPLES_NEEDED[99] else 50)


def backlog(facts: Facts) -> Found:
    """Want tiers that keep up with what they are offered: the frames that wait do not grow in number."""
    for tier in facts.tiers:
        line = tier.summary.backlog
        lost = bool(tier.summary.missing) and not tier.latency_grew
        # Frames that are lost wait for nothing; a swing of a short run is no growth.
        if line is None or line.lower_hz <= 0 or lost:
            continue
        limit_hz = facts.limits.backlog_share * line.offered_hz
        if line.upper_hz > limit_hz:
            follow = (
                f"{tier.name} does less than the {line.offered_hz:,.1f} frames/s that it is offered: lower the rate, "
                "or give it more cores or larger batches"
            )
            reason = Reason(
                rule=f"{BACKLOG} in {tier.name}",
                found=line.upper_hz,
                limit=round(limit_hz, 4),
                unit="frames/s",
                next=follow,
            )
            yield Broken(reason, frozenset({f"missing in {tier.name}", LATE, Fate.DROPPED.value}))


def late_generator(facts: Facts) -> Found:
    """Want cameras that keep their schedule: else the load was another one than the plan says."""
    if not facts.tiers:
        return
    late_ns = np.concatenate([_late_ns(tier) for tier in facts.each_once])
    # Of few frames one stall of the machine would be the ninetieth percentile already.
    share = 99 if len(late_ns) >= SAMPLES_NEEDED[99] else 50
    late_ms = percentile(late_ns / MILLISECOND_NS, share)
    p50s_ms = [tier.summary.latency_ms.p50 for tier in facts.tiers if tier.summary.latency_ms.p50 is not None]
    limit_ms = max(facts.limits.late_ms, facts.limits.late_share * min(p50s_ms, default=0.0))
    if late_ms is not None and late_ms > limit_ms:
        follow = (
            f"{share} % of the frames left their cameras no later than that; this machine is too slow for its cameras: "
            "lower --rate-hz or --cameras, or put them on another one"
        )
        reason = Reason(rule=LATE, found=late_ms, limit=round(limit_ms, 3), unit="ms", next=follow)
        yield Broken(reason, frozenset({Fate.DROPPED.value}))


def _late_ns(tier: TierFacts) -> NDArray[np.int64]:
    """Give how late the measured frames of a tier left their cameras, as far as that is known."""
    known = tier.measured & (tier.rows.sent_ns != NEVER)
    late_ns: NDArray[np.int64] = tier.rows.sent_ns[known] - tier.rows.due_ns[known]
    return late_ns
