"""The latencies of the last seconds: exact percentiles of those, in memory that does not grow."""

from collections import deque
from typing import Final

import numpy as np

from edgewise.clock import SECOND_NS
from edgewise.statistics import Floats, percentile

WINDOW_S: Final = 15
WINDOW_MOST: Final = 60_000
"""Latencies remembered of one tier."""
RATE_S: Final = 5
"""That a rate is taken over."""


class Window:
    """A ring of latencies and the ticks at which they were seen."""

    def __init__(self) -> None:
        self._ms = np.zeros(WINDOW_MOST)
        self._seen_ns = np.full(WINDOW_MOST, -(2**62), dtype=np.int64)
        self._next = 0

    def add(self, found_ms: float, *, now_ns: int) -> None:
        """Remember one."""
        self._ms[self._next], self._seen_ns[self._next] = found_ms, now_ns
        self._next = (self._next + 1) % WINDOW_MOST

    def recent_ms(self, *, now_ns: int) -> Floats:
        """Give those of the last seconds."""
        found: Floats = self._ms[self._seen_ns > now_ns - WINDOW_S * SECOND_NS]
        return found

    def percentiles(self, *, now_ns: int) -> tuple[float | None, float | None]:
        """Give p50 and p99 of the last seconds, each only where there are enough to tell."""
        recent_ms = self.recent_ms(now_ns=now_ns)
        return percentile(recent_ms, 50), percentile(recent_ms, 99)


class Rate:
    """How many a second, over the last seconds: whole ones, or as long as they were."""

    def __init__(self) -> None:
        self._now = 0.0
        self._past: deque[tuple[float, float]] = deque(maxlen=RATE_S)
        """How many, and in how many seconds."""

    def add(self, count: float = 1) -> None:
        """Count some."""
        self._now += count

    def close(self, *, lasted_s: float) -> float:
        """End a second, or what was meant to be one; give the mean of the last ones."""
        self._past.append((self._now, lasted_s))
        self._now = 0.0
        return self.hz

    @property
    def hz(self) -> float:
        """Give the mean of the last seconds that have ended."""
        return sum(count for count, _ in self._past) / sum(s for _, s in self._past) if self._past else 0.0
