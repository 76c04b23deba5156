"""Real brokers and real waiting, for the tests that need them."""

from collections.abc import Callable
from typing import TypeVar

from edgewise.clock import Deadline, SystemClock
from edgewise.mqtt.outbox import Line

Found = TypeVar("Found")
Whose = TypeVar("Whose", bound=Line)


def eventually(condition: Callable[[], Found], *, within_s: float, look_again_s: float = 0.02) -> Found:
    """Return what ``condition`` gives as soon as it is true; fail with what it gave last."""
    deadline = Deadline(SystemClock(), within_s=within_s)
    while not (found := condition()):
        if deadline.passed():
            raise AssertionError(f"not within {within_s} s: {condition} gave {found!r}")
        deadline.pause(for_s=look_again_s)
    return found


def connected(line: Whose) -> Whose:
    """Give a line once it has its connection."""
    eventually(line.opened, within_s=30)
    return line
