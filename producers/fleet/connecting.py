"""All connections of a process at its start: so many a second, and those that are there stay alive meanwhile."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from edgewise.clock import SECOND_NS, Clock
from edgewise.errors import EdgewiseError
from edgewise.mqtt.connection import greeting
from edgewise.mqtt.outbox import Line
from producers.fleet.pace import Ramp, Rota
from producers.fleet.sockets import Sockets

LOOK_S: Final = 0.2
"""How often those are looked after that the broker does not answer."""


def connect(lines: Sequence[Line], *, address: str, clock: Clock, ramp_hz: float) -> None:
    """Return when each has its connection.

    Raises:
        UnreachableError: the broker does not take one of them.
        RefusedError: it does not let one of them in.
    """
    coming = _Coming(lines, clock=clock, ramp=Ramp(ramp_hz, clock=clock))
    try:
        with greeting(address):
            coming.run()
    except EdgewiseError:
        for line in lines:
            line.abandon()
        raise
    finally:
        coming.close()


class _Coming:
    """Lines that wait for their turn, that are connecting, that are there."""

    def __init__(self, lines: Sequence[Line], *, clock: Clock, ramp: Ramp) -> None:
        self._clock, self._ramp = clock, ramp
        self._sockets: Sockets[Line] = Sockets(clock)
        self._waiting, self._opening = deque(lines), set[Line]()
        self._looked_ns = clock.ticks_ns()
        self._there: Rota[Line] = Rota(clock=clock)

    def run(self) -> None:
        while self._waiting or self._opening:
            if self._waiting and self._ramp.turn():
                self._turn(self._waiting.popleft())
            for line in self._there.take():
                line.receive()
            if (now_ns := self._clock.ticks_ns()) >= self._looked_ns + LOOK_S * SECOND_NS:
                self._looked_ns = now_ns
                for line in list(self._opening):
                    self._turn(line)
            self._pause()

    def _turn(self, line: Line) -> None:
        if line.opened():
            self._opening.discard(line)
            self._there.add(line)
            self._sockets.forget(line)
        else:
            self._opening.add(line)
            self._sockets.watch(line, line)

    def _pause(self) -> None:
        """Wait for the next one's turn, or for an answer."""
        now_ns = self._clock.ticks_ns()
        until_ns = min(self._ramp.next_ns, now_ns + SECOND_NS) if self._waiting else now_ns + SECOND_NS
        if self._opening:
            for line in self._sockets.ready(wait_s=min(LOOK_S, (until_ns - now_ns) / SECOND_NS)):
                self._turn(line)
        elif self._waiting:
            self._clock.sleep_until(until_ns)

    def close(self) -> None:
        self._sockets.close()
