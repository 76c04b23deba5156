"""Reading the topics in steps, as much a second as costs the run nothing.

Results are all read; of the frames, whose bytes are many, only so many a second, and the
rest is counted by its offsets.
"""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final, Protocol

from edgewise import topics
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.kafka import Looker, Record

STEP_MS: Final = 100
"""How often the topics are looked into: often enough for an eye, in pieces that cost little."""
TAKE: Final = 2000
"""Records of a topic in one step."""
FRAMES_MOST_HZ: Final = 2000
"""Frames a second that are read, at most ..."""
FRAMES_MOST_BYTES: Final = 8_000_000
"""... and their bytes a second, within a piece."""
PIECE: Final = 100
"""Frames that are taken at once: they may be of a million bytes."""


class Opens(Protocol):
    """Opens a reader that only looks."""

    def __call__(self, *names: str, from_end: bool = True) -> Looker:
        """Give a reader of these topics, at their beginning or at their end.

        Raises:
            UnreachableError: Kafka does not answer.
            MissingError: it has no such topics yet.
        """


class Takes(Protocol):
    """What is done with what is read."""

    @property
    def until_ns(self) -> int:
        """Give Kafka's stamp of the last record of ``runs`` that was taken."""

    def add_plans(self, records: Sequence[Record]) -> None:
        """Take records of the topic ``runs``."""

    def add(self, records: Sequence[Record]) -> None:
        """Take records of the other topics; none says that they were looked into."""

    def end_second(self, *, passed: int, lasted_s: float) -> None:
        """End a second, or however long it was, in which so many frames were passed over."""


@dataclass(slots=True)
class _Left:
    """What may still be read of the frames in the second under way."""

    frames: int = FRAMES_MOST_HZ
    size_bytes: int = FRAMES_MOST_BYTES

    @property
    def nothing(self) -> bool:
        return self.frames <= 0 or self.size_bytes <= 0


class Reader:
    """Has the topics open; a step takes what there is."""

    def __init__(self, opens: Opens, into: Takes, *, clock: Clock) -> None:
        """Open them; of what ``runs`` tells take what is news.

        Raises:
            UnreachableError, MissingError: see Opens.
        """
        self._into, self._clock = into, clock
        with ExitStack() as until:
            self._plans = until.enter_context(closing(opens(topics.RUNS, from_end=False)))
            self._results = until.enter_context(closing(opens(topics.RESULTS, topics.REJECTED)))
            self._frames = until.enter_context(closing(opens(topics.FRAMES)))
            known_ns = into.until_ns
            while self._plans.lag():
                taken = self._plans.take(limit=TAKE, wait_s=STEP_MS / 1000)
                into.add_plans([record for record in taken if record.appended_ns >= known_ns])
            self._until = until.pop_all()
        self._began_ns, self._left = clock.ticks_ns(), _Left()

    def step(self) -> None:
        """Take what there is; then wait until the next step is due.

        Raises:
            UnreachableError: Kafka does not answer.
        """
        next_ns = self._clock.ticks_ns() + STEP_MS * MILLISECOND_NS
        if plans := self._plans.take(limit=TAKE, wait_s=0):
            self._into.add_plans(plans)
        self._into.add(self._results.take(limit=TAKE, wait_s=0))
        self._take_frames()
        lasted_ns = self._clock.ticks_ns() - self._began_ns
        if lasted_ns >= SECOND_NS:
            # What is too much is passed over at once: the newest frames are the ones to be seen.
            passed = self._frames.skip() if self._left.nothing else 0
            self._into.end_second(passed=passed, lasted_s=lasted_ns / SECOND_NS)
            self._began_ns, self._left = self._began_ns + lasted_ns, _Left()
        self._clock.sleep_until(next_ns)

    def _take_frames(self) -> None:
        while not self._left.nothing:
            taken = self._frames.take(limit=min(PIECE, self._left.frames), wait_s=0)
            self._into.add(taken)
            self._left.frames -= len(taken)
            self._left.size_bytes -= sum(len(record.value) for record in taken)
            if not taken:
                return

    def close(self) -> None:
        """Close them."""
        self._until.close()
