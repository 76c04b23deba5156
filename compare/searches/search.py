"""Searches that know of loads and nothing of runs: where a tier stops keeping up, and where the better one changes.

The load is doubled until the answer changes, then the gap is halved, at fixed loads: no
controller moves a load while it is being judged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgewise.messages import Tier

ABOVE: Final = 1.10
"""Of the rate found: a load that must fail, or the rate found was no limit."""
CONFIRMATIONS: Final = 3
"""That are tried before a rate is given unconfirmed."""
SMALLEST_SHARE: Final = 1 / 64
"""Of the first load: one that fails below is not halved again."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search came to."""

    rate_hz: float | None
    """The highest that was sustained; None if none was."""
    bounded: bool
    """Whether a higher one failed; otherwise it is as far as the search went, and the capacity at least that."""
    confirmed: bool
    """Whether it was sustained once more, and a tenth above it failed."""


class CapacitySearch:
    """Finds the highest rate that is sustained, where one run may tell otherwise than the next."""

    def __init__(
        self, sustains: Callable[[float], bool], *, start_hz: float, most_hz: float, within: float = 0.05
    ) -> None:
        self._sustains, self._start_hz, self._most_hz, self._within = sustains, start_hz, most_hz, within
        self._held: set[float] = set()
        self._failed: set[float] = set()

    def run(self) -> Capacity:
        """Double, halve the gap to ``within``, confirm; where it is not confirmed, search on from what is known."""
        for _ in range(CONFIRMATIONS):
            self._narrow()
            low_hz = self._low_hz
            if low_hz is None or self._high_hz is None:
                return Capacity(low_hz, bounded=low_hz is None, confirmed=False)
            if self._try(low_hz) and not self._try(min(low_hz * ABOVE, self._most_hz)):
                return Capacity(low_hz, bounded=True, confirmed=True)
        return Capacity(self._low_hz, bounded=self._high_hz is not None, confirmed=False)

    @property
    def _low_hz(self) -> float | None:
        return max(self._held, default=None)

    @property
    def _high_hz(self) -> float | None:
        return min(self._failed, default=None)

    def _narrow(self) -> None:
        while (next_hz := self._next_hz()) is not None:
            self._try(next_hz)

    def _next_hz(self) -> float | None:
        """Give the rate to try next; None if the gap is narrow enough, or there is none."""
        low_hz, high_hz = self._low_hz, self._high_hz
        if high_hz is None:
            if low_hz is None:
                return min(self._start_hz, self._most_hz)
            return min(2 * low_hz, self._most_hz) if low_hz < self._most_hz else None
        if low_hz is None:
            return high_hz / 2 if high_hz / 2 >= self._start_hz * SMALLEST_SHARE else None
        return (low_hz + high_hz) / 2 if high_hz > low_hz * (1 + self._within) else None

    def _try(self, rate_hz: float) -> bool:
        """Try a rate; the last answer counts, and takes back those that it contradicts."""
        held = self._sustains(rate_hz)
        if held:
            self._held.add(rate_hz)
            self._failed = {one for one in self._failed if one > rate_hz}
        else:
            self._failed.add(rate_hz)
            self._held = {one for one in self._held if one < rate_hz}
        return held


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the better tier changes."""

    before: Tier | None
    """The better one with few cameras; None if neither is."""
    after: Tier | None
    """The better one from ``high`` cameras on; None if the answer never changed."""
    low: int
    """The most cameras at which it is not the better one yet."""
    high: int
    """The fewest at which it is; as ``low`` if it never changed."""


def crossover(better: Callable[[int], Tier | None], *, start: int, most: int, within: float = 0.05) -> Crossover:
    """Find the number of cameras at which another tier gets better than with ``start`` of them.

    Args:
        better: the better tier with so many cameras; None if neither is shown to be.
        start: where to begin.
        most: how far to go.
        within: how near, as a share of the cameras; a single camera is near enough.
    """
    low, before = start, better(start)
    while low < most:
        high = min(2 * low, most)
        after = better(high)
        if after not in {None, before}:
            while high - low > max(1, within * low):
                middle = (low + high) // 2
                low, high = (low, middle) if better(middle) is after else (middle, high)
            return Crossover(before, after, low, high)
        low = high
    return Crossover(before, None, low, low)
