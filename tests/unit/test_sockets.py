"""How exactly a fleet waits for its sockets and for its schedule."""

import socket
from collections.abc import Iterator

import pytest

from edgewise.clock import MILLISECOND_NS, SECOND_NS, ManualClock
from producers.fleet.sockets import Sockets


class Wire:
    """A line's connection: one end of a pair of sockets."""

    def __init__(self) -> None:
        self.mine, self.theirs = socket.socketpair()

    @property
    def watched(self) -> "Wire":
        """Itself."""
        return self

    def fileno(self) -> int:
        """Give the watched end."""
        return self.mine.fileno()

    def wants_write(self) -> bool:
        """Have nothing to say."""
        return False


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.mine.close()
    wire.theirs.close()


@pytest.mark.parametrize("wait_ms", [0.3, 1.0, 1.7, 9.4, 13.2])
def test_a_wait_ends_when_a_frame_is_due_and_not_at_the_next_millisecond(wire: Wire, wait_ms: float) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    sockets: Sockets[str] = Sockets(clock)
    sockets.watch(wire, "cam-1")  # type: ignore[arg-type]  # what it uses of a line
    assert sockets.ready(wait_s=wait_ms / 1000) == []
    assert clock.ticks_ns() == SECOND_NS + round(wait_ms * MILLISECOND_NS)
    sockets.close()


def test_who_has_something_to_hear_ends_the_wait(wire: Wire) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    sockets: Sockets[str] = Sockets(clock)
    sockets.watch(wire, "cam-1")  # type: ignore[arg-type]
    wire.theirs.send(b"x")
    assert sockets.ready(wait_s=60.0) == ["cam-1"]
    assert clock.ticks_ns() == SECOND_NS
    sockets.close()


@pytest.mark.parametrize("wait_s", [0.0, -1.0])
def test_what_is_due_already_is_not_waited_for(wire: Wire, wait_s: float) -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    sockets: Sockets[str] = Sockets(clock)
    sockets.watch(wire, "cam-1")  # type: ignore[arg-type]
    assert sockets.ready(wait_s=wait_s) == []
    assert clock.ticks_ns() == SECOND_NS
    sockets.close()
