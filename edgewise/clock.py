"""The only place that asks what time it is."""

import time
from datetime import UTC, datetime
from typing import Protocol

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


class Clock(Protocol):
    """Moments for messages, ticks for durations."""

    def now_ns(self) -> int:
        """Wall clock, nanoseconds since 1970: may jump; comparable between machines."""

    def ticks_ns(self) -> int:
        """Monotonic nanoseconds: never jump; mean nothing outside this process."""

    def sleep_until(self, tick_ns: int) -> None:
        """Return at ``tick_ns``, at once if it has passed."""


def thread_spent_ns() -> int:
    """Give the processor time that the calling thread has used."""
    return time.thread_time_ns()


class SystemClock:
    """The real one."""

    def now_ns(self) -> int:
        """See Clock."""
        return time.time_ns()

    def ticks_ns(self) -> int:
        """See Clock."""
        return time.monotonic_ns()

    def sleep_until(self, tick_ns: int) -> None:
        """See Clock."""
        if (wait_ns := tick_ns - time.monotonic_ns()) > 0:
            time.sleep(wait_ns / SECOND_NS)


class ManualClock:
    """For tests: time moves only when someone moves it."""

    def __init__(self, *, start_ns: int = 0) -> None:
        self._ns = start_ns

    def now_ns(self) -> int:
        """See Clock."""
        return self._ns

    def ticks_ns(self) -> int:
        """See Clock."""
        return self._ns

    def sleep_until(self, tick_ns: int) -> None:
        """See Clock; nobody really waits."""
        self._ns = max(self._ns, tick_ns)

    def advance(self, *, by_ns: int) -> None:
        """Let time pass."""
        self._ns += by_ns


def utc_name(moment_ns: int) -> str:
    """Write a moment so that names made of it sort by time: 20261121T162332Z."""
    return datetime.fromtimestamp(moment_ns / SECOND_NS, tz=UTC).strftime("%Y%m%dT%H%M%SZ")


class Deadline:
    """A moment to give up at, on one clock's ticks."""

    def __init__(self, clock: Clock, *, within_s: float) -> None:
        self._clock = clock
        self._give_up_ns = clock.ticks_ns() + round(within_s * SECOND_NS)

    def passed(self) -> bool:
        """Say whether it is time to give up."""
        return self._clock.ticks_ns() >= self._give_up_ns

    def left_s(self) -> float:
        """Seconds until then, never negative."""
        return max(0.0, (self._give_up_ns - self._clock.ticks_ns()) / SECOND_NS)

    def pause(self, *, for_s: float) -> None:
        """Wait a little, but not past the deadline."""
        until_ns = self._clock.ticks_ns() + round(for_s * SECOND_NS)
        self._clock.sleep_until(min(until_ns, self._give_up_ns))
