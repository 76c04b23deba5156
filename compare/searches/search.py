"""Searches that know of loads and nothing of runs: where a tier stops keeping up, and where the better one changes.

The load is doubled until the answer changes, then the gap is halved, at fixed loads: no
controller moves a load while it is being judged. What the answer stands on is asked again
before it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edgewise.messages import Tier

ABOVE: Final = 1.10
"""Of the rate found: a load that must fail, or the rate found was no limit."""
CONFIRMATIONS: Final = 3
"""That are tried before an answer is given unconfirmed."""
SMALLEST_SHARE: Final = 1 / 64
"""Of the first load: one that fails below is not halved again."""
REPEATS: Final = 3
"""Of what a crossover stands on, at least."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a search came to."""

    rate_hz: float | None
    """The highest that was sustained; None if none was."""
    bounded: bool
    """Whether a tenth above it failed, or none was sustained; otherwise the capacity is at least that."""
    confirmed: bool
    """Whether it was sustained once more and, if it is bounded, a tenth above it failed."""


class CapacitySearch:
    """Finds the highest rate that is sustained, where one run may tell otherwise than the next."""

    def __init__(
        self,
        sustains: Callable[[float], bool],
        *,
        start_hz: float,
        most_hz: float,
        least_hz: float = 0.0,
        within: float = 0.05,
    ) -> None:
        self._sustains, self._start_hz, self._most_hz, self._within = sustains, start_hz, most_hz, within
        self._least_hz = max(start_hz * SMALLEST_SHARE, least_hz)
        self._held: set[float] = set()
        self._failed: set[float] = set()

    def run(self) -> Capacity:
        """Double, halve the gap to ``within``, confirm; where it is not confirmed, search on from what is known."""
        for _ in range(CONFIRMATIONS):
            self._narrow()
            low_hz = self._low_hz
            if low_hz is None:
                return Capacity(None, bounded=True, confirmed=False)
            if not self._try(low_hz):
                continue
            if low_hz * ABOVE > self._most_hz:  # what may be offered ends before it: a lower rate that failed is near
                return Capacity(low_hz, bounded=False, confirmed=True)
            if not self._try(low_hz * ABOVE):
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
            return high_hz / 2 if high_hz / 2 >= self._least_hz else None
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


class Better(Protocol):
    """Says which tier is the better one."""

    def __call__(self, cameras: int, /, *, repeats: int) -> Tier | None:
        """Give the better tier with so many cameras by so many repeats at least; None if neither is shown to be."""


@dataclass(frozen=True, slots=True)
class Crossover:
    """Where the better tier changes."""

    before: Tier | None
    """The better one with fewer cameras; None if neither is shown to be with any number that was tried."""
    after: Tier | None
    """The better one from ``high`` cameras on; None if it is the same in the whole range."""
    low: int
    """The most cameras at which it is not the better one yet; without a change, the most that were tried."""
    high: int
    """The fewest at which it is; as ``low`` without a change."""
    confirmed: bool
    """Whether repeats of what it stands on say the same."""


class CrossoverSearch:
    """Finds the number of cameras from which on another tier is the better one.

    That neither is better with few cameras is no answer: the range goes on until two tiers have
    each been the better one, or to its end. Only then the end of *neither* is the change.
    """

    def __init__(
        self,
        better: Better,
        *,
        start: int,
        most: int,
        within: float = 0.05,
        useful: Callable[[int], bool] = lambda _: True,
    ) -> None:
        """Take what answers, and where.

        Args:
            better: the better tier with so many cameras.
            start: where to begin.
            most: how far to go.
            within: how near, as a share of the cameras; a single camera is near enough.
            useful: whether a tier is of use with a number that was tried; otherwise more are not tried.
        """
        self._better, self._useful = better, useful
        self._start, self._most, self._within = start, most, within
        self._found: dict[int, Tier | None] = {}

    def run(self) -> Crossover:
        """Double, halve the gap, and ask again for what the answer stands on until it stays as it is."""
        for _ in range(CONFIRMATIONS):
            self._double()
            found = self._narrowed()
            same = [self._same_again(cameras) for cameras in self._stands_on(found)]
            if all(same):
                return found
        found = self._answer()
        return Crossover(found.before, found.after, found.low, found.high, confirmed=False)

    def _same_again(self, cameras: int) -> bool:
        before = self._found[cameras]
        self._found[cameras] = self._better(cameras, repeats=REPEATS)
        return self._found[cameras] is before

    def _stands_on(self, found: Crossover) -> list[int]:
        """Give what an answer is lost with: both sides of a change, or the ends of the range with one better tier."""
        if found.after is not None:
            return [found.low, found.high]
        same = [cameras for cameras, tier in self._found.items() if tier is not None]
        return sorted({min(same), max(same)}) if same else []

    def _double(self) -> None:
        """Try more and more cameras until two tiers have been the better one."""
        cameras = max(self._found, default=0)
        while cameras < self._most and len(self._winners()) < 2:  # noqa: PLR2004 - there are two tiers
            if cameras and not self._useful(cameras):
                return
            cameras = min(2 * cameras, self._most) if cameras else self._start
            self._found[cameras] = self._better(cameras, repeats=1)

    def _winners(self) -> list[Tier]:
        """Give the tiers that are the better one somewhere, in the order of the cameras."""
        return list(dict.fromkeys(tier for _, tier in sorted(self._found.items()) if tier is not None))

    def _narrowed(self) -> Crossover:
        """Halve the gap in which the answer changes."""
        while True:
            found = self._answer()
            if found.after is None or found.high - found.low <= max(1, self._within * found.low):
                return found
            middle = (found.low + found.high) // 2
            self._found[middle] = self._better(middle, repeats=1)

    def _answer(self) -> Crossover:
        """Say what is known so far."""
        tried = sorted(self._found)
        winners = [None, *self._winners()]
        before, after = winners[-2] if len(winners) > 1 else None, winners[-1]
        if after is None or self._found[tried[0]] is after:
            return Crossover(after, None, tried[-1], tried[-1], confirmed=True)
        high = next(cameras for cameras in tried if self._found[cameras] is after)
        return Crossover(before, after, tried[tried.index(high) - 1], high, confirmed=True)
