"""Whether the frames that wait for an answer grow in number: a tier that is offered more than it can do.

Outstanding is what was sent and is not answered, at moments at even distances over the
schedule that follows the warm-up; its growth is the slope of the line through them.
"""

from typing import Final

import numpy as np

from consumers.ledger.collect import NEVER
from consumers.ledger.columns import Moments, Rows
from edgewise.clock import SECOND_NS
from edgewise.statistics import Floats, Mask, trend
from edgewise.summary import Backlog, Limits

POINTS_LEAST: Final = 20
POINTS_MOST: Final = 600
"""One a second between these: closer ones tell nothing new, and would feign certainty."""


def find(found: Rows, which: Mask, limits: Limits) -> Backlog | None:
    """Draw the line through a tier's outstanding frames; None if the schedule is too short to judge by."""
    if not which.any():
        return None
    due_ns = found.due_ns[which]
    from_ns, to_ns = int(due_ns.min()), int(due_ns.max())
    span_s = (to_ns - from_ns) / SECOND_NS
    if span_s < limits.backlog_over_s:
        return None
    points = min(max(POINTS_LEAST, round(span_s)), POINTS_MOST)
    at_ns = np.linspace(0, to_ns - from_ns, points).astype(np.int64) + from_ns
    line = trend((at_ns - from_ns) / SECOND_NS, outstanding(found, at_ns))
    return line and Backlog(
        slope_hz=round(line.slope, 4),
        lower_hz=round(line.lower, 4),
        upper_hz=round(line.upper, 4),
        offered_hz=round(len(due_ns) / span_s, 2),
    )


def outstanding(found: Rows, at_ns: Moments) -> Floats:
    """Count the frames sent and not yet answered at each of these moments."""
    # Nobody but its camera knows when a frame left that was never seen again: it counts from when it was due.
    left_ns = np.where(found.sent_ns == NEVER, found.due_ns, found.sent_ns)[found.owed]
    seen_ns = found.seen_ns[found.answered]
    counts = (np.searchsorted(np.sort(moments), at_ns, side="right") for moments in (left_ns, seen_ns))
    sent, answered = counts
    return (sent - answered).astype(np.float64)


def latency_grew(found: Rows, which: Mask) -> bool:
    """Say whether answers came later and later: a queue grew before them, and they were not just lost."""
    some = which & found.answered
    line = trend((found.due_ns[some] - found.start_ns) / SECOND_NS, found.latency_ms[some] / 1000)
    return line is not None and line.lower > 0.01  # noqa: PLR2004 - a hundredth of a second later each second
