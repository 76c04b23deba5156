"""How often: connections a second, and looks after those that are connected."""

from collections.abc import Iterable, Iterator
from typing import Final, Generic, TypeVar

from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock

EACH_S: Final = 5.0
"""How often every connection is looked after, whatever it hears: keep-alive."""
BEHIND_NS: Final = 20 * MILLISECOND_NS
"""What is made up for if a turn came late; more would be a storm, and make frames late."""

Whose = TypeVar("Whose")


class Ramp:
    """Lets as many begin a second as a broker bears."""

    def __init__(self, ramp_hz: float, *, clock: Clock) -> None:
        self._clock, self._gap_ns = clock, round(SECOND_NS / ramp_hz)
        self.next_ns = clock.ticks_ns()
        """The tick from which on the next one may."""

    def turn(self) -> bool:
        """Say whether one more may begin now; if so, it does."""
        if (now_ns := self._clock.ticks_ns()) < self.next_ns:
            return False
        self.next_ns = max(self.next_ns, now_ns - BEHIND_NS) + self._gap_ns
        return True


class Rota(Generic[Whose]):
    """Gives everyone a turn within EACH_S."""

    def __init__(self, members: Iterable[Whose] = (), *, clock: Clock) -> None:
        self._clock, self._members = clock, list(members)
        self._next = 0
        self._owed, self._seen_ns = 0.0, clock.ticks_ns()

    def add(self, member: Whose) -> None:
        """Take one more in."""
        self._members.append(member)

    def take(self, *, most: int | None = None) -> Iterator[Whose]:
        """Give those whose turn it is, so many at most; who is left over comes next time."""
        now_ns, count = self._clock.ticks_ns(), len(self._members)
        self._owed = min(count, self._owed + (now_ns - self._seen_ns) * count / (EACH_S * SECOND_NS))
        self._seen_ns = now_ns
        turns = int(self._owed) if most is None else min(int(self._owed), most)
        self._owed -= turns
        for _ in range(turns):
            self._next %= count
            yield self._members[self._next]
            self._next += 1

    def pace_s(self, *, most: int) -> float:
        """Say how often it must be asked, so many at a time."""
        return most * EACH_S / max(1, len(self._members))
