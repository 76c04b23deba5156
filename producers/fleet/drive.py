"""One selector for all cameras of a process: who is due, who was answered, who lost the connection."""

import heapq
import selectors
from collections.abc import Callable, Sequence
from typing import Final

from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.mqtt.connection import Connection
from edgewise.parts import CLOSE_S
from producers.camera.camera import Camera

TICK_S: Final = 0.2
"""How often every camera is looked after, whatever it hears: keep-alive, reconnect, drops."""


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
            return
        interest = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write() else 0)
        if before == (connection, interest):
            return
        if before is not None:
            self._selector.unregister(before[0])
        self._selector.register(connection, interest, camera)
        self._known[camera.name] = (connection, interest)

    def ready(self, *, wait_s: float) -> Sequence[Camera]:
        """Give the cameras that have something to hear or can write again."""
        return [key.data for key, _ in self._selector.select(max(0.0, wait_s))]

    def close(self) -> None:
        """Stop listening."""
        self._selector.close()


def drive(
    cameras: Sequence[Camera],
    *,
    clock: Clock,
    done: Callable[[], bool],
    tell: Callable[[int], None],
    answers_within_s: float,
) -> None:
    """Turn the cameras until each frame was dropped or answered.

    After the last frame the answers may take ``answers_within_s``, or CLOSE_S once somebody
    asked to stop; what is unanswered then stays unanswered in the accounts.
    """
    sockets = _Sockets()
    due = [(due_ns, index) for index, camera in enumerate(cameras) if (due_ns := camera.next_due_ns()) is not None]
    heapq.heapify(due)
    tick_ns = 0
    last: Deadline | None = None
    stopping = False
    while not (last and last.passed()):
        now_ns = clock.now_ns()
        while due and due[0][0] <= now_ns:
            _, index = due[0]
            cameras[index].turn()
            sockets.watch(cameras[index])
            next_ns = cameras[index].next_due_ns()
            heapq.heappop(due) if next_ns is None else heapq.heapreplace(due, (next_ns, index))
        if clock.ticks_ns() >= tick_ns:
            tick_ns = clock.ticks_ns() + round(TICK_S * SECOND_NS)
            if done() and not stopping:
                stopping = True
                due.clear()
                _give_up(cameras)
                last = Deadline(clock, within_s=CLOSE_S)
            enough = Deadline(clock, within_s=TICK_S)
            for camera in cameras:
                # Connecting again may take its time; those who are connected must not wait for all who are not.
                if camera.outbox.connection is not None or not enough.passed():
                    _look_after(camera, sockets)
            tell(sum(camera.over() for camera in cameras))
            if not due:
                last = last or Deadline(clock, within_s=answers_within_s)
                if all(camera.finished() for camera in cameras):
                    break
        wait_s = min(TICK_S, (due[0][0] - clock.now_ns()) / SECOND_NS) if due else TICK_S
        for camera in sockets.ready(wait_s=wait_s):
            _look_after(camera, sockets)
    _give_up(cameras)
    sockets.close()


def _give_up(cameras: Sequence[Camera]) -> None:
    for camera in cameras:
        camera.give_up()


def _look_after(camera: Camera, sockets: _Sockets) -> None:
    camera.hear()
    camera.turn()  # an answer frees the window for a frame that waits
    sockets.watch(camera)
