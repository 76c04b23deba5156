"""Stand-ins without a network: each keeps the promises of the real one that tests rely on.

They satisfy the same protocols under mypy; ``tests/contract`` holds the memory inbox to the
same cases as the real one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Semaphore

import numpy as np
from numpy.typing import NDArray

from edgewise.arrival import Arrival
from edgewise.clock import ManualClock
from edgewise.kafka import Header, Place, Record
from edgewise.messages import Codec, Frame, Result, Tier
from edgewise.mqtt.outbox import Answer, MqttOutbox
from edgewise.prefix import Prefix
from models.engine import Labels, Scores

FRAME = Frame(
    run="2025-11-21-demo",
    camera="camera-7",
    number=41,
    dataset="cifar10",
    split="test",
    image=9999,
    width=2,
    height=1,
    codec=Codec.RAW,
    due_ns=1_763_000_000_123_456_789,
    sent_ns=1_763_000_000_123_999_999,
    payload=bytes([0, 127, 128, 255, 1, 2]),
)
RESULT = Result(
    run="2025-11-21-demo",
    camera="camera-7",
    number=41,
    dataset="cifar10",
    split="test",
    image=9999,
    tier=Tier.CLUSTER,
    engine="keras",
    model="resnet20@0123456789ab",
    label=9,
    score=0.75,
    due_ns=1_763_000_000_123_456_789,
    sent_ns=1_763_000_000_123_999_999,
    bridged_ns=1_763_000_000_125_000_001,
    appended_ns=None,
    received_ns=1_763_000_000_130_000_002,
    started_ns=1_763_000_000_131_000_003,
    inferred_ns=1_763_000_000_141_000_004,
    size_bytes=123,
    batch=64,
    tasks=2,
    worker="worker-1",
)


def arrival(wire: bytes, *, camera: str = FRAME.camera, receipt: int = 0) -> Arrival:
    """Give bytes as a consumer receives them."""
    return Arrival(camera, wire, receipt, FRAME.sent_ns, f"mqtt cameras/{camera}/frames")


@dataclass(frozen=True, slots=True)
class Sent:
    """One record as it was handed to a producer."""

    topic: str
    key: str
    value: bytes
    receipt: int
    headers: Mapping[str, bytes]


class MemoryProducer:
    """See ``edgewise.kafka.Producer``; everything is stored at once."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._stored: list[int] = []

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:
        """See Producer."""
        self.sent.append(Sent(topic, key, value, receipt, dict(headers)))
        self._stored.append(receipt)

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:  # noqa: ARG002 - nothing to wait for
        """See Producer."""
        stored, self._stored = self._stored, []
        return stored

    def close(self, *, within_s: float) -> Sequence[int]:
        """See Producer."""
        return self.stored(wait_s=within_s)

    def abandon(self) -> None:
        """See Producer."""
        self._stored = []


class MemoryConsumer:
    """See ``edgewise.kafka.Consumer``; gives the records it was made with."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)
        self.committed: dict[Place, int] = {}
        self.closed = False

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:  # noqa: ARG002 - nothing to wait for
        """See Consumer."""
        taken, self._records = self._records[:limit], self._records[limit:]
        return taken

    def commit(self, following: Mapping[Place, int]) -> None:
        """See Consumer."""
        self.committed.update(following)

    def lag(self) -> int:
        """See Consumer."""
        return len(self._records)

    def close(self) -> None:
        """See Consumer."""
        self.closed = True


class MemoryLooker(MemoryConsumer):
    """See ``edgewise.kafka.Looker``; more may come, and whatever is asked of it may fail."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        super().__init__(records)
        self.failure: Exception | None = None
        self.taken = 0

    def come(self, records: Sequence[Record]) -> None:
        """Have more to give."""
        self._records += records

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        """See Consumer."""
        if self.failure is not None:
            raise self.failure
        taken = super().take(limit=limit, wait_s=wait_s)
        self.taken += len(taken)
        return taken

    def skip(self) -> int:
        """See Looker."""
        passed, self._records = len(self._records), []
        return passed


class MemoryInbox:
    """A session of ``brokers.bridge.carry.Inbox`` whose broker is a list."""

    def __init__(self, wires: Sequence[bytes], *, window: int = 1000) -> None:
        self._held = dict(enumerate(wires))
        """What the broker keeps for the session, by its own count."""
        self._window = window
        self._under_way: Prefix[int] = Prefix()
        self._delivered: set[int] = set()

    def take(self, *, limit: int, wait_s: float) -> Sequence[Arrival]:  # noqa: ARG002 - nothing to wait for
        """See Inbox."""
        taken: list[Arrival] = []
        for place, wire in self._held.items():
            if len(taken) < limit and len(self._delivered) < self._window and place not in self._delivered:
                self._delivered.add(place)
                taken.append(arrival(wire, receipt=self._under_way.begin(place)))
        return taken

    def finish(self, receipts: Sequence[int]) -> None:
        """See Inbox."""
        for place in self._under_way.finish(receipts):
            self._delivered.remove(place)
            del self._held[place]

    def reconnect(self) -> None:
        """Lose the connection: what was not acknowledged will come again."""
        self._under_way.forget()
        self._delivered.clear()

    def kept(self) -> int:
        """Count what the broker still keeps for the session."""
        return len(self._held)


class MemoryOutbox(MqttOutbox):
    """A camera's way out without a broker: each send takes as long as it is told to."""

    def __init__(self, clock: ManualClock, *, window: int = 20) -> None:
        self._fake_clock, self._free = clock, window
        self._answers: list[tuple[int, Answer]] = []
        self.sent: list[tuple[int, bytes]] = []
        self.traces: dict[int, str] = {}
        """Of those that carried one, by number."""
        self.unanswered: list[int] = []
        self.slow: dict[int, int] = {}
        """Number of a frame -> nanoseconds that sending it takes."""
        self.trouble, self.ended = None, False

    def connected(self) -> bool:
        """See MqttOutbox."""
        return not self.ended

    def end(self) -> None:
        """Let another client take its place."""
        self.ended = True
        self.unanswered.clear()

    def free(self) -> bool:
        """See MqttOutbox."""
        return len(self.unanswered) < self._free

    def in_flight(self) -> int:
        """See MqttOutbox."""
        return len(self.unanswered)

    def send(self, number: int, wire: bytes, *, trace: str | None = None) -> None:
        """See MqttOutbox."""
        self.sent.append((number, wire))
        if trace is not None:
            self.traces[number] = trace
        self.unanswered.append(number)
        self._fake_clock.advance(by_ns=self.slow.get(number, 0))

    def answer(self, number: int, answer: Answer) -> None:
        """Let the broker answer one frame."""
        self.unanswered.remove(number)
        self._answers.append((number, answer))

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """See MqttOutbox."""
        answers, self._answers = self._answers, []
        return answers


class FakeEngine:
    """A model that reads each image's class and score from its first pixel, once it is let."""

    name = "fake"
    identity = "fake@000000000000"
    shape = (1, 2, 3)

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[int] = []
        self.fails_with: Exception | None = None
        self.turns = Semaphore(0 if held else 1_000_000)
        """One is used for each batch; a held engine gets them one by one."""
        self.at_work = Semaphore(0)
        """One is released at each batch's start, for whoever waits for it."""

    def classify(self, images: NDArray[np.uint8]) -> tuple[Labels, Scores]:
        """See Engine."""
        self.batches.append(len(images))
        self.at_work.release()
        self.turns.acquire()
        if self.fails_with is not None:
            raise self.fails_with
        first = images[:, 0, 0, :]
        return first[:, 0].astype(np.int64), (first[:, 1] / 256).astype(np.float32)
