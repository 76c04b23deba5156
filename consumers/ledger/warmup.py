"""Where a run's warm-up ends: when three windows in a row agree, chosen by the moments that frames were due.

A cold cluster compiles what it runs most while it runs, so its first frames tell of that
and not of it. They are accounted for like all others; only latencies leave them out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from consumers.ledger.columns import Rows, each_once
from edgewise.clock import SECOND_NS
from edgewise.statistics import SAMPLES_NEEDED, Floats
from edgewise.summary import Limits, WarmUp

WINDOWS: Final = 24
"""That a schedule is divided into, if they are then neither shorter nor longer than these:"""
WINDOW_LEAST_S: Final = 1.0
WINDOW_MOST_S: Final = 10.0
IN_A_ROW: Final = 3
SHORTEST: Final = 6
"""Windows; a shorter schedule has no warm-up: it would be most of it."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One tier, window by window."""

    answered: Floats
    """Of the frames due, what share was answered: the throughput, whatever cameras send by chance.

    Results counted when they were seen would come in steps of whole micro-batches, and a window would have one of
    them more than its neighbour by chance.
    """
    p50_ms: Floats
    """Latency of the frames due; infinite with too few of them, or too few answered."""


def find(tiers: Sequence[Rows], limits: Limits, *, split: bool = False, period_s: float = 0.0) -> WarmUp | None:
    """Say how long the warm-up lasted: until the last tier was stable. None if the schedule is too short for one.

    Args:
        tiers: their rows.
        limits: what stable means.
        split: whether each frame is in one tier's rows alone.
        period_s: of bursts, if there are any: a window is of whole ones, so that all see the same.
    """
    span_s = max((found.span_s for found in tiers), default=0.0)
    window_s = min(max(span_s / WINDOWS, WINDOW_LEAST_S), WINDOW_MOST_S)
    window_s = math.ceil(window_s / period_s) * period_s if period_s else window_s
    count = int(round(span_s / window_s, 3))
    if count < SHORTEST:
        return None
    start_ns = min(found.start_ns for found in tiers)
    latest = limits.warm_up_most_share * span_s
    divided = [windows(found, start_ns=start_ns, window_s=window_s, count=count) for found in tiers]
    begins_s = [_begins_s(one, window_s=window_s, latest_s=latest, within=limits.stable_within) for one in divided]
    known_s = [begin_s for begin_s in begins_s if begin_s is not None]
    stable = len(known_s) == len(begins_s)
    lasted_s = max(limits.warm_up_least_s, *known_s, *([] if stable else [latest / 2]))
    until_ns = start_ns + round(lasted_s * SECOND_NS)
    frames = sum(int((found.due_ns < until_ns).sum()) for found in each_once(tiers, split=split))
    return WarmUp(stable=stable, lasted_s=round(lasted_s, 3), frames=frames, window_s=round(window_s, 3))


def _begins_s(found: Windows, *, window_s: float, latest_s: float, within: float) -> float | None:
    """Say from when on a tier was stable; None if it was not in time.

    Until its first answers come, its frames under way grow in number: that is no backlog, and not yet stable.
    """
    place = agreement(found, within=within)
    begin_s = None if place is None else place * window_s + found.p50_ms[place] / 1000
    return None if begin_s is None or begin_s > latest_s else float(begin_s)


def windows(found: Rows, *, start_ns: int, window_s: float, count: int) -> Windows:
    """Divide a schedule into windows; what comes after the last is in none."""
    window_ns = round(window_s * SECOND_NS)
    due = (found.due_ns - start_ns) // window_ns
    inside = found.owed & (due < count)
    order = np.lexsort((found.latency_ms[inside], due[inside]))
    sorted_ms, frames = found.latency_ms[inside][order], np.bincount(due[inside], minlength=count)
    ends = np.cumsum(frames)
    middles = np.minimum(ends - frames + (frames - 1) // 2, max(len(sorted_ms) - 1, 0))
    p50_ms = np.full(count, np.inf)
    enough = frames >= SAMPLES_NEEDED[50]
    p50_ms[enough] = sorted_ms[middles[enough]]
    answered = np.bincount(due[inside & found.answered], minlength=count)
    return Windows(answered / np.maximum(frames, 1), p50_ms)


def agreement(found: Windows, *, within: float) -> int | None:
    """Give the first window that agrees with the two that follow it; None if none does."""
    for place in range(len(found.p50_ms) - IN_A_ROW + 1):
        three = slice(place, place + IN_A_ROW)
        if all(_alike(values[three], within=within) for values in (found.answered, found.p50_ms)):
            return place
    return None


def _alike(values: Floats, *, within: float) -> bool:
    """Say whether values lie within a share of the middle one."""
    return bool(np.isfinite(values).all() and np.ptp(values) <= within * np.median(values) and values.min() > 0)
