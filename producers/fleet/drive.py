"""One selector for all cameras of a process: who is due, who was answered, who lost the connection."""

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.mqtt.outbox import Line
from edgewise.parts import CLOSE_S
from producers.fleet.pace import Ramp, Rota
from producers.fleet.sockets import Sockets, Wakes

TICK_S: Final = 0.2
"""How often those cameras are looked after that wait for something: for a connection, or with frames to drop."""
COME_S: Final = 0.01
"""How often some of those connect that may: all of a tick's at once would make frames late."""
AT_ONCE: Final = 20
"""Cameras looked after one after the other, at most: all of ten thousand at once would make frames late by 0.1 s."""


class Sender(Protocol):
    """A camera, or several that share a connection."""

    @property
    def line(self) -> Line:
        """Its connection."""

    def next_due_ns(self) -> int | None:
        """Say when the next frame is due; None after the last."""

    def next_leave_ns(self) -> int | None:
        """Say when it leaves its connection; None if it stays."""

    def leave(self) -> None:
        """Leave it, until its time away is over."""

    def turn(self) -> None:
        """Send what is due; drop what has waited too long."""

    def hear(self) -> None:
        """Count the broker's answers."""

    def waits(self) -> bool:
        """Say whether it waits for more than its next frame."""

    def finished(self) -> bool:
        """Say whether every frame was dropped or answered."""

    def give_up(self) -> None:
        """Drop what is not sent."""

    def count(self, change: int) -> None:
        """Count its connection, or that it is gone."""


class _Drive:
    """The turns of one process' cameras."""

    def __init__(self, cameras: Sequence[Sender], *, clock: Clock, ramp_hz: float) -> None:
        self._cameras, self._clock = cameras, clock
        self._sockets: Sockets[Sender] = Sockets(clock)
        self._rota = Rota(cameras, clock=clock)
        self._waiting: dict[Sender, None] = {}
        """Those that wait for something, the longest first."""
        self._coming: deque[Sender] = deque()
        """Those of them that may connect."""
        self._ramp = Ramp(ramp_hz, clock=clock)
        self._tick_ns = clock.ticks_ns()
        due = ((camera.next_due_ns(), index) for index, camera in enumerate(cameras))
        self._due = [(due_ns, index) for due_ns, index in due if due_ns is not None]
        heapq.heapify(self._due)
        leaving = ((camera.next_leave_ns(), index) for index, camera in enumerate(cameras))
        self._leaving = [(leave_ns, index) for leave_ns, index in leaving if leave_ns is not None]
        heapq.heapify(self._leaving)
        self._links = Wakes[Sender](clock)
        for camera in cameras:
            self._note(camera)

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
                    self._leaving.clear()
                    self._give_up()
                    last = Deadline(self._clock, within_s=CLOSE_S)
                self._let_go()
                self._look_after_waiting()
                tell()
                if not self._due:
                    last = last or Deadline(self._clock, within_s=answers_within_s)
                    if all(camera.finished() for camera in self._cameras):
                        break
            self._look_round()
        self._give_up()
        tell()
        self._sockets.close()

    def _look_round(self) -> None:
        """Look after those whose turn it is, or who have something to hear; wait for that until a frame is due."""
        if self._coming:
            self._connect_some()
        for camera in self._rota.take(most=AT_ONCE):
            if camera not in self._waiting:  # those have turns, and a pace, of their own
                self._look_after(camera)
        for camera in self._links.take():
            self._look_after(camera)
        for camera in self._sockets.ready(wait_s=self._until_due_s()):
            self._look_after(camera)

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
        longest_s = min(COME_S if self._coming else TICK_S, self._rota.pace_s(most=AT_ONCE), self._links.left_s())
        return min(longest_s, (self._due[0][0] - self._clock.now_ns()) / SECOND_NS) if self._due else longest_s

    def _let_go(self) -> None:
        """Let those leave whose time has come."""
        now_ns, leaving = self._clock.now_ns(), self._leaving
        while leaving and leaving[0][0] <= now_ns:
            _, index = heapq.heappop(leaving)
            camera = self._cameras[index]
            camera.leave()
            self._look_after(camera)
            if (next_ns := camera.next_leave_ns()) is not None:
                heapq.heappush(leaving, (next_ns, index))

    def _look_after_waiting(self) -> None:
        """See who may connect; let the others go on connecting, or drop what is too late."""
        self._coming.clear()
        for camera in list(self._waiting):
            if camera.line.may_connect():
                self._coming.append(camera)
            else:
                self._look_after(camera)

    def _connect_some(self) -> None:
        """Let some of those who may connect begin with it, as many as a broker bears."""
        while self._coming and self._ramp.turn():
            camera = self._coming.popleft()
            if camera.line.may_connect():
                camera.line.reconnect()
            self._look_after(camera)

    def _look_after(self, camera: Sender) -> None:
        camera.hear()
        camera.turn()  # an answer frees the window for a frame that waits
        self._note(camera)

    def _note(self, camera: Sender) -> None:
        if change := self._sockets.watch(camera.line, camera):
            camera.count(change)
        if (wake_ns := camera.line.next_ns()) is not None:
            self._links.add(camera, wake_ns)
        if camera.waits():
            self._waiting.setdefault(camera)
        else:
            self._waiting.pop(camera, None)

    def _give_up(self) -> None:
        for camera in self._cameras:
            camera.give_up()


def drive(
    cameras: Sequence[Sender],
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
