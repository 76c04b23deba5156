"""Thousands connect one after the other, and those that were first stay alive meanwhile."""

from itertools import pairwise
from typing import Final

import pytest

from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import UnreachableError
from edgewise.mqtt.connection import KEEP_ALIVE_S
from edgewise.mqtt.outbox import Line
from producers.fleet.connecting import connect
from producers.fleet.pace import BEHIND_NS, Ramp

CAMERAS: Final = 4000
RAMP_HZ: Final = 20


class Patient(Line):
    """A connection that is there at once, and remembers when it was looked after."""

    def __init__(self, clock: ManualClock, *, refused: bool = False) -> None:
        super().__init__("nowhere:1", client_id="patient", window=1, clock=clock)
        self._refused, self.abandoned = refused, False
        self.looked_after_ns: list[int] = []

    def opened(self) -> bool:
        """See Line."""
        if self._refused:
            raise UnreachableError("MQTT broker", at="nowhere:1", hint="it has enough")
        self.looked_after_ns.append(self._clock.ticks_ns())
        return True

    def receive(self) -> list[object]:  # type: ignore[override]
        """See Line."""
        self.looked_after_ns.append(self._clock.ticks_ns())
        return []

    def abandon(self) -> None:
        """See Line."""
        self.abandoned = True


def test_each_connects_in_its_turn_and_none_is_left_alone_for_longer_than_its_keep_alive() -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    lines = [Patient(clock) for _ in range(CAMERAS)]
    connect(lines, address="nowhere:1", clock=clock, ramp_hz=RAMP_HZ)
    over_ns = clock.ticks_ns()
    assert (over_ns - SECOND_NS) / SECOND_NS == pytest.approx(CAMERAS / RAMP_HZ, rel=0.01)
    began_ns = [line.looked_after_ns[0] for line in lines]
    assert began_ns == sorted(began_ns)
    for second in range(CAMERAS // RAMP_HZ):
        within = [one for one in began_ns if second <= one / SECOND_NS - 1 < second + 1]
        assert len(within) <= RAMP_HZ + 1
    for line in lines:
        moments_ns = [*line.looked_after_ns, over_ns]
        alone_ns = max(later - earlier for earlier, later in pairwise(moments_ns))
        # It pings once nothing was said for half of the keep-alive: that must fall within the other half.
        assert alone_ns < KEEP_ALIVE_S / 2 * SECOND_NS
    assert len(lines[0].looked_after_ns) >= CAMERAS / RAMP_HZ / (KEEP_ALIVE_S / 2)


def test_a_pause_is_not_made_up_for_by_a_storm() -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    ramp = Ramp(1000, clock=clock)
    for _ in range(3):
        began = 0
        while ramp.turn():
            began += 1
        assert 1 <= began <= 1000 * BEHIND_NS / SECOND_NS + 1
        clock.advance(by_ns=60 * SECOND_NS)


def test_when_one_is_refused_the_others_are_not_left_open() -> None:
    clock = ManualClock(start_ns=SECOND_NS)
    lines = [Patient(clock), Patient(clock, refused=True), Patient(clock)]
    with pytest.raises(UnreachableError, match="it has enough"):
        connect(lines, address="nowhere:1", clock=clock, ramp_hz=RAMP_HZ)
    assert [line.abandoned for line in lines] == [True, True, True]
