"""The connections of many cameras in one selector, kept up with losses and reconnects; and who is to be woken."""

import heapq
import itertools
import math
import selectors
from collections.abc import Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar, cast

from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.mqtt.connection import Connection
from edgewise.mqtt.opening import Opening
from edgewise.mqtt.outbox import Line

Whose = TypeVar("Whose")


class _Watched(NamedTuple):
    connection: Connection | Opening
    interest: int
    fd: int


class Sockets(Generic[Whose]):
    """Lines, each with whom it belongs to."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._selector = clock, selectors.DefaultSelector()
        self._known: dict[Line, _Watched] = {}

    def watch(self, line: Line, whose: Whose) -> int:
        """Listen to a line's connection as it is now; give 1 if it has become one, -1 if it has been lost, else 0."""
        watched, before = line.watched, self._known.get(line)
        if watched is None:
            return self.forget(line)
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if watched.wants_write() else 0)
        if before is not None:
            if before.connection is watched and before.interest == interest:
                return 0
            self._selector.unregister(before.fd)
        fd = watched.fileno()
        self._selector.register(fd, interest, whose)
        self._known[line] = _Watched(watched, interest, fd)
        was = before is not None and isinstance(before.connection, Connection)
        return isinstance(watched, Connection) - was

    def forget(self, line: Line) -> int:
        """Listen to a line no more; give -1 if it was a connection."""
        if (before := self._known.pop(line, None)) is None:
            return 0
        self._selector.unregister(before.fd)
        return -int(isinstance(before.connection, Connection))

    def ready(self, *, wait_s: float) -> Sequence[Whose]:
        """Give those who have something to hear or can write again; nobody if that is not within ``wait_s``."""
        until_ns = self._clock.ticks_ns() + round(wait_s * SECOND_NS)
        # A selector counts whole milliseconds, upwards, and some as one more: what is due between two would leave late.
        whole_ms = max(0, math.floor(wait_s * SECOND_NS / MILLISECOND_NS) - 1)
        found = self._selector.select(whole_ms * MILLISECOND_NS / SECOND_NS)
        if not found:
            self._clock.sleep_until(until_ns)
        return [cast("Whose", key.data) for key, _ in found]

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()


class Wakes(Generic[Whose]):
    """Who is to be looked after when, though no socket says so."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moments: list[tuple[int, int, Whose]] = []
        self._earliest: dict[Whose, int] = {}
        self._order = itertools.count()

    def add(self, whose: Whose, wake_ns: int) -> None:
        """Remember a tick, unless an earlier one is known: whoever is woken says himself when to wake him next."""
        if self._earliest.get(whose, wake_ns + 1) > wake_ns:
            self._earliest[whose] = wake_ns
            heapq.heappush(self._moments, (wake_ns, next(self._order), whose))

    def take(self) -> Iterator[Whose]:
        """Give those whose tick has come."""
        while self._moments and self._moments[0][0] <= self._clock.ticks_ns():
            wake_ns, _, whose = heapq.heappop(self._moments)
            if self._earliest.get(whose) == wake_ns:  # otherwise an earlier one was added, and taken
                del self._earliest[whose]
                yield whose

    def left_s(self) -> float:
        """Say how long it is until the first; without end if there is none."""
        if not self._moments:
            return math.inf
        return (self._moments[0][0] - self._clock.ticks_ns()) / SECOND_NS
