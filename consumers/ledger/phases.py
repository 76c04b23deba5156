"""The phases of a run: a fleet that joins one under way begins another."""

from collections.abc import Iterator, Sequence

import numpy as np

from consumers.ledger.columns import Rows, each_once, measured
from edgewise.account import Plan
from edgewise.clock import SECOND_NS
from edgewise.statistics import percentile
from edgewise.summary import Phase, PhaseLatency


def find(plans: Sequence[Plan], tiers: Sequence[Rows], *, from_ns: int, split: bool) -> list[Phase]:
    """Divide a run at the moments at which fleets joined; nothing to divide with one fleet.

    Args:
        plans: of all fleets.
        tiers: their rows.
        from_ns: moment up to which the run warmed up: latencies are of the frames due later.
        split: whether each frame is in one tier's rows alone.
    """
    return list(_phases(plans, tiers, from_ns=from_ns, split=split)) if len(plans) > 1 and tiers else []


def _phases(plans: Sequence[Plan], tiers: Sequence[Rows], *, from_ns: int, split: bool) -> Iterator[Phase]:
    due_ns = np.concatenate([found.due_ns for found in each_once(tiers, split=split)])
    if not len(due_ns):
        return
    begins_ns = sorted({plan.start_ns for plan in plans})
    ends_ns = [*begins_ns[1:], int(due_ns.max()) + 1]
    for begin_ns, end_ns in zip(begins_ns, ends_ns, strict=True):
        frames = int(((due_ns >= begin_ns) & (due_ns < end_ns)).sum())
        lasts_s = max((end_ns - begin_ns) / SECOND_NS, 1e-3)
        at_work = [plan for plan in plans if plan.start_ns <= begin_ns <= plan.end_ns()]
        yield Phase(
            begins_s=round((begin_ns - begins_ns[0]) / SECOND_NS, 3),
            joined=sorted(plan.fleet for plan in plans if plan.start_ns == begin_ns),
            cameras=sum(plan.cameras for plan in at_work),
            frames=frames,
            scheduled_hz=round(frames / lasts_s, 3),
            latency_ms={found.tier.value: _latency(found, begin_ns, end_ns, from_ns=from_ns) for found in tiers},
        )


def _latency(found: Rows, begin_ns: int, end_ns: int, *, from_ns: int) -> PhaseLatency:
    which = measured(found, from_ns=max(begin_ns, from_ns)) & (found.due_ns < end_ns)
    late_ms = found.latency_ms[which]
    return PhaseLatency(p50=percentile(late_ms, 50), p99=percentile(late_ms, 99))
