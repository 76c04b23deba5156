"""One selector for all cameras of a process: who is due, who was answered, who lost the connection."""

import heapq
import selectors
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.mqtt.connection import Connection
from edgewise.parts import CLOSE_S
from producers.camera.camera import Camera

TICK_S: Final = 0.2
"""How often those cameras are looked after that wait for something: for a connection, or with frames to drop."""
EACH_S: Final = 5.0
"""How often every camera is looked after, whatever it hears: keep-alive."""
AT_ONCE: Final = 20
"""Cameras looked after one after the other, at most: all of ten thousand at once would make frames late by 0.1 s."""


class _Sockets:
    """The cameras' connections in one selector, kept up with losses and reconnects."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._known: dict[str, tuple[Connection, int]] = {}

    def watch(self, camera: Camera) -> None:
        """Listen to a camera's connection as it is now."""
        connection = camera.outbox.connection
        before = self._known.get(camera.name)
        if connection is None:
            if before is not None:
                self._selector.unregister(before[0])
                del self._known[camera.name]
                camera.tally.connected -= 1
            return
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write() else 0)
        if before == (connection, interest):
            return
        if before is not None:
            self._selector.unregister(before[0])
        else:
            camera.tally.connected += 1
        self._selector.register(connection, interest, camera)
        self._known[camera.name] = (connection, interest)

    def ready(self, *, wait_s: float) -> Sequence[Camera]:
        """Give the cameras that have something to hear or can write again."""
        return [key.data for key, _ in self._selector.select(max(0.0, wait_s))]

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()


class _Rota:
    """Gives every camera its turn within EACH_S, a few at a time."""

    def __init__(self, cameras: Sequence[Camera], *, clock: Clock) -> None:
        self._cameras, self._clock = cameras, clock
        self._began_ns, self._given = clock.ticks_ns(), 0
        self.pace_s = AT_ONCE * EACH_S / len(cameras)
        """How often it must be asked."""

    def take(self) -> Iterator[Camera]:
        """Give those whose turn it is."""
        owed = (self._clock.ticks_ns() - self._began_ns) * len(self._cameras) // round(EACH_S * SECOND_NS)
        for _ in range(min(owed - self._given, AT_ONCE)):
            yield self._cameras[self._given % len(self._cameras)]
            self._given += 1


class _Drive:
    """The turns of one process' cameras."""

    def __init__(self, cameras: Sequence[Camera], *, clock: Clock, ramp_hz: float) -> None:
        self._cameras, self._clock = cameras, clock
        self._sockets, self._rota = _Sockets(), _Rota(cameras, clock=clock)
        self._waiting: dict[str, Camera] = {}
        """Those that wait for something, by name, the longest first."""
        self._ramp_hz, self._may_connect = ramp_hz, 0.0
        self._tick_ns = self._ticked_ns = clock.ticks_ns()
        due = ((camera.next_due_ns(), index) for index, camera in enumerate(cameras))
        self._due = [(due_ns, index) for due_ns, index in due if due_ns is not None]
        heapq.heapify(self._due)
        for camera in cameras:
            self._sockets.watch(camera)

    def run(self, *, done: Callable[[], bool], tell: Callable[[], None], answers_within_s: float) -> None:
        last: Deadline | None = None
        stopping = False
        while not (last and last.passed()):
            self._send_due()
            if self._clock.ticks_ns() >= self._tick_ns:
                self._tick_ns = self._clock.ticks_ns() + round(TICK_S * SECOND_NS)
                if done() and not stopping:
                    stopping = True
                    self._due.clear()
                    self._give_up()
                    last = Deadline(self._clock, within_s=CLOSE_S)
                self._look_after_waiting()
                tell()
                if not self._due:
                    last = last or Deadline(self._clock, within_s=answers_within_s)
                    if all(camera.finished() for camera in self._cameras):
                        break
            for camera in self._rota.take():
                if camera.name not in self._waiting:  # those have turns, and a pace, of their own
                    self._look_after(camera)
            for camera in self._sockets.ready(wait_s=self._until_due_s()):
                self._look_after(camera)
        self._give_up()
        tell()
        self._sockets.close()

    def _send_due(self) -> None:
        now_ns, due = self._clock.now_ns(), self._due
        while due and due[0][0] <= now_ns:
            _, index = due[0]
            camera = self._cameras[index]
            camera.turn()
            self._note(camera)
            next_ns = camera.next_due_ns()
            heapq.heappop(due) if next_ns is None else heapq.heapreplace(due, (next_ns, index))

    def _until_due_s(self) -> float:
        longest_s = min(TICK_S, self._rota.pace_s)
        return min(longest_s, (self._due[0][0] - self._clock.now_ns()) / SECOND_NS) if self._due else longest_s

    def _look_after_waiting(self) -> None:
        """Connect again those who may, as many as a broker bears; let the others drop what is too late."""
        now_ns, enough = self._clock.ticks_ns(), Deadline(self._clock, within_s=TICK_S)
        # What was not used is lost but for one tick's: a pause is not made up for by a storm.
        more = (now_ns - self._ticked_ns) / SECOND_NS * self._ramp_hz
        self._may_connect = min(self._may_connect + more, max(1.0, self._ramp_hz * TICK_S))
        self._ticked_ns = now_ns
        for camera in list(self._waiting.values()):
            if camera.outbox.connection is None and camera.outbox.may_connect():
                # Connecting may take its time; those who are connected must not wait for all who are not.
                if self._may_connect < 1 or enough.passed():
                    continue
                self._may_connect -= 1
            self._look_after(camera)

    def _look_after(self, camera: Camera) -> None:
        camera.hear()
        camera.turn()  # an answer frees the window for a frame that waits
        self._note(camera)

    def _note(self, camera: Camera) -> None:
        self._sockets.watch(camera)
        if camera.waits():
            self._waiting.setdefault(camera.name, camera)
        else:
            self._waiting.pop(camera.name, None)

    def _give_up(self) -> None:
        for camera in self._cameras:
            camera.give_up()


def drive(
    cameras: Sequence[Camera],
    *,
    clock: Clock,
    done: Callable[[], bool],
    tell: Callable[[], None],
    answers_within_s: float,
    ramp_hz: float,
) -> None:
    """Turn the cameras until each frame was dropped or answered.

    ``tell`` is called now and then: the cameras' tallies have changed.
    After the last frame the answers may take ``answers_within_s``, or CLOSE_S once somebody
    asked to stop; what is unanswered then stays unanswered in the accounts. Cameras that lost
    their connection come back ``ramp_hz`` a second at most.
    """
    _Drive(cameras, clock=clock, ramp_hz=ramp_hz).run(done=done, tell=tell, answers_within_s=answers_within_s)
