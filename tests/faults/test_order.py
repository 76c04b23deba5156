"""Die in the worst place, at every place: what was confirmed must come again until it is in Kafka."""

from collections.abc import Callable, Sequence

import pytest

from brokers.bridge.carry import Inbox, Outbox, carry
from edgewise.arrival import Arrival
from tests.fakes import MemoryInbox

Carry = Callable[[Inbox, Outbox], None]
FRAMES = [b"%d" % number for number in range(6)]


class DiedError(Exception):
    """The bridge's process ends here."""


def rightly(inbox: Inbox, outbox: Outbox) -> None:
    carry(inbox, outbox, limit=3, wait_s=0)


def wrongly(inbox: Inbox, outbox: Outbox) -> None:
    """Acknowledge before Kafka has the frame: the two lines of carry in the other order."""
    frames = inbox.take(limit=3, wait_s=0)
    inbox.finish([frame.receipt for frame in frames])
    outbox.store(frames)
    outbox.stored(wait_s=0)


class Log:
    """A Kafka of which a set number of steps succeed before the bridge dies."""

    def __init__(self) -> None:
        self.wires: list[bytes] = []
        self.steps_left = 0
        self._waiting: list[Arrival] = []

    def store(self, frames: Sequence[Arrival]) -> None:
        self._waiting = list(frames)

    def stored(self, *, wait_s: float) -> Sequence[int]:  # noqa: ARG002 - nothing to wait for
        receipts = []
        for frame in self._waiting:
            if self.steps_left == 0:
                raise DiedError
            self.steps_left -= 1
            self.wires.append(frame.wire)
            receipts.append(frame.receipt)
        self._waiting = []
        return receipts


def rounds(carrying: Carry, inbox: Inbox, outbox: Outbox) -> None:
    for _ in FRAMES:
        carrying(inbox, outbox)


def lost(carrying: Carry, *, dies_after: int) -> list[bytes]:
    """Carry with a bridge that dies after so many steps, then with its successor; give what never arrived."""
    inbox, log = MemoryInbox(FRAMES), Log()
    log.steps_left = dies_after
    with pytest.raises(DiedError):
        rounds(carrying, inbox, log)
    inbox.reconnect()
    log._waiting, log.steps_left = [], len(FRAMES) * 2  # noqa: SLF001 - the successor starts empty-handed
    rounds(carrying, inbox, log)
    return [wire for wire in FRAMES if wire not in log.wires]


def test_with_no_room_nothing_is_taken() -> None:
    inbox, log = MemoryInbox(FRAMES), Log()
    carry(inbox, log, limit=0, wait_s=0)
    assert len(inbox.take(limit=99, wait_s=0)) == len(FRAMES)


@pytest.mark.parametrize("dies_after", range(len(FRAMES)))
def test_wherever_the_bridge_dies_its_successor_brings_the_rest(dies_after: int) -> None:
    assert lost(rightly, dies_after=dies_after) == []


@pytest.mark.parametrize("dies_after", range(len(FRAMES)))
def test_a_bridge_that_acknowledges_first_is_found_out_wherever_it_dies(dies_after: int) -> None:
    assert lost(wrongly, dies_after=dies_after) != []
