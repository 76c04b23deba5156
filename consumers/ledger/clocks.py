"""Whether the moments of a frame follow one another; where they do not, whose clock is off.

Each moment is read from the clock of one part: on several machines, or after a clock
was set, one part may be ahead of another. No frame is left out for it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumers.ledger.collect import NEVER
from consumers.ledger.columns import Rows
from edgewise.clock import MILLISECOND_NS, SECOND_NS
from edgewise.messages import Tier
from edgewise.statistics import Floats, Mask
from edgewise.summary import Limits

FLEET: Final = "fleet"
LEDGER: Final = "ledger"
OUTLIERS: Final = 1
"""Percent of a step's shortest and longest that are not looked at when a clock's error is reckoned."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one moment of a frame to one that follows it."""

    start: str
    """Column, and whose clock it is of."""
    start_by: str
    end: str
    end_by: str

    @property
    def name(self) -> str:
        """Name it for people: due to sent."""
        return " to ".join(column.removesuffix("_ns").replace("_", " ") for column in (self.start, self.end))


def steps(tier: Tier) -> Sequence[Step]:
    """Give the steps of one tier's frames: the gateway takes them from MQTT, the cluster from Kafka."""
    before = ("sent_ns", FLEET) if tier is Tier.GATEWAY else ("appended_ns", "kafka")
    return (
        Step("due_ns", FLEET, "sent_ns", FLEET),
        Step("sent_ns", FLEET, "bridged_ns", "bridge"),
        Step("bridged_ns", "bridge", "appended_ns", "kafka"),
        Step(*before, "received_ns", tier.value),
        Step("received_ns", tier.value, "started_ns", tier.value),
        Step("started_ns", tier.value, "inferred_ns", tier.value),
        Step("inferred_ns", tier.value, "result_appended_ns", "kafka"),
        Step("result_appended_ns", "kafka", "seen_ns", LEDGER),
    )


def taken_ns(found: Rows, step: Step) -> Floats:
    """Give how long a step took for each frame; not a number where one of its moments is not known."""
    start_ns, end_ns = found.moments(step.start), found.moments(step.end)
    known = (start_ns != NEVER) & (end_ns != NEVER)
    took_ns = np.full(len(known), np.nan)
    took_ns[known] = end_ns[known] - start_ns[known]
    return took_ns


@dataclass(frozen=True, slots=True)
class Impossible:
    """Frames of one tier of which a moment lies before the one that it follows."""

    by_step: Mapping[str, int]
    """Frames, by the step's name."""
    share: float
    """Of the frames that the worst step is known of."""
    part: str
    """Whose clock explains most of it."""
    off_s: float
    """By how much that clock is ahead of the others; below 0 it is behind."""


def find(found: Rows, limits: Limits) -> Impossible | None:
    """Count the impossible steps and find the clock that explains them; None if there are none."""
    before_ns = -limits.clock_ms * MILLISECOND_NS
    by_step, share = {}, 0.0
    offending = np.zeros(len(found.due_ns), dtype=np.bool_)
    for step in steps(found.tier):
        took_ns = taken_ns(found, step)
        wrong = took_ns < before_ns
        if count := int(wrong.sum()):
            by_step[step.name] = count
            share = max(share, count / int((~np.isnan(took_ns)).sum()))
            offending |= wrong
    if not by_step:
        return None
    shortest_s = dict(_shortest_s(found, offending))
    part, off_s = culprit(shortest_s, tolerance_s=limits.clock_ms / 1000)
    return Impossible(by_step, share, part, off_s)


def _shortest_s(found: Rows, offending: Mask) -> Iterator[tuple[Step, float]]:
    """Give the shortest time that each step took in the frames that cannot be, but for outliers."""
    for step in steps(found.tier):
        took_ns = taken_ns(found, step)[offending]
        known = took_ns[~np.isnan(took_ns)]
        if len(known):
            yield step, float(np.percentile(known, OUTLIERS, method="lower")) / SECOND_NS


def culprit(shortest_s: Mapping[Step, float], *, tolerance_s: float) -> tuple[str, float]:
    """Say whose clock is off and by how many seconds, if it is one: after its correction the steps are possible.

    A clock that is ahead by x makes every step to its part longer by x and every step from
    it shorter. Of the parts whose correction makes all steps possible, it is the one that leaves
    the least time in them: a correct clock's steps are short already. If no single part explains it,
    it is the one that comes nearest.
    """
    parts = sorted({part for step in shortest_s for part in (step.start_by, step.end_by)})
    judged = [(_left_over(shortest_s, part, tolerance_s=tolerance_s), part) for part in parts]
    (_, _, off_s), part = min(judged)
    return part, off_s


def _left_over(shortest_s: Mapping[Step, float], part: str, *, tolerance_s: float) -> tuple[float, float, float]:
    """Give the time still impossible and the time still in the steps with one clock corrected, and its correction."""
    between = {step: took_s for step, took_s in shortest_s.items() if step.start_by != step.end_by}
    own_s = min((took_s for step, took_s in shortest_s.items() if step.start_by == step.end_by == part), default=0.0)
    most_s = min((took_s for step, took_s in between.items() if step.end_by == part), default=np.inf)
    least_s = max((-took_s for step, took_s in between.items() if step.start_by == part), default=-np.inf)
    off_s = _nearest_zero(least_s, most_s)
    corrected = [took_s - off_s * ((step.end_by == part) - (step.start_by == part)) for step, took_s in between.items()]
    impossible_s = sum(max(0.0, -took_s - tolerance_s) for took_s in corrected)
    # A clock that goes back between two of its own moments was set in between: none but itself explains that.
    others = (took_s for step, took_s in shortest_s.items() if step.start_by == step.end_by != part)
    impossible_s += sum(max(0.0, -took_s - tolerance_s) for took_s in others)
    if own_s < -tolerance_s and off_s == 0:
        off_s = own_s
    return impossible_s, sum(abs(took_s) for took_s in corrected), off_s


def _nearest_zero(least_s: float, most_s: float) -> float:
    """Give the error that two bounds leave: their middle, or the one bound that is known, if it is an error."""
    if np.isfinite(least_s) and np.isfinite(most_s):
        return (least_s + most_s) / 2
    if np.isfinite(least_s):
        return max(0.0, least_s)
    return min(0.0, most_s) if np.isfinite(most_s) else 0.0
