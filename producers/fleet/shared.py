"""Cameras that share a connection, where only their load matters."""

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

from edgewise.clock import MILLISECOND_NS, Clock
from edgewise.mqtt.outbox import Answer, Line
from producers.camera.camera import Camera

NUMBERS: Final = 1 << 32
"""More than any camera has frames: a frame's key on the line is its lane, then its number."""
ALL_NS: Final = 50 * MILLISECOND_NS
"""From one look after all that wait to the next: there may be thousands, of whom each has nothing but to wait."""


class Lane:
    """One camera's place on a line that others use too: its topic, its window, its answers."""

    def __init__(self, line: Line, lane: int, *, camera: str, window: int, answered: bool) -> None:
        self._line, self._first = line, lane * NUMBERS
        self._topic, self._window, self._answered = f"cameras/{camera}/frames", window, answered
        self._in_flight = 0
        self._answers: list[tuple[int, Answer]] = []

    @property
    def line(self) -> Line:
        """The connection."""
        return self._line

    def connected(self) -> bool:
        """See Outbox."""
        return self._line.connected()

    def free(self) -> bool:
        """See Outbox."""
        return self._in_flight < self._window and self._line.room(answered=self._answered)

    def in_flight(self) -> int:
        """See Outbox."""
        return 0 if self._line.ended else self._in_flight

    def send(self, number: int, wire: bytes, *, trace: str | None = None) -> None:
        """See Outbox."""
        self._in_flight += self._answered
        self._line.publish(self._topic, self._first + number, wire, answered=self._answered, trace=trace)

    def answer(self, number: int, answer: Answer) -> None:
        """Take what the broker said to one of its frames."""
        self._in_flight -= 1
        self._answers.append((number, answer))

    def receive(self) -> Sequence[tuple[int, Answer]]:
        """See Outbox; the line is read by the bundle."""
        answers, self._answers = self._answers, []
        return answers


class Bundle:
    """The cameras of one line, driven as if they were one."""

    def __init__(self, line: Line, cameras: Sequence[tuple[Camera, Lane]], *, clock: Clock) -> None:
        self.line = line
        self._clock = clock
        self._cameras, self._lanes = [camera for camera, _ in cameras], [lane for _, lane in cameras]
        self._waiting: dict[int, None] = {}
        """Places of those with frames that wait, the longest first."""
        self._all_ns = 0
        due = ((camera.next_due_ns(), place) for place, camera in enumerate(self._cameras))
        self._due = [(due_ns, place) for due_ns, place in due if due_ns is not None]
        heapq.heapify(self._due)

    def next_due_ns(self) -> int | None:
        """Say when the next frame of one of them is due; None after the last."""
        return self._due[0][0] if self._due else None

    def next_leave_ns(self) -> None:
        """Say that none of them leaves."""

    def turn(self) -> None:
        """Send what is due; see Camera."""
        now_ns, due = self._clock.now_ns(), self._due
        if self._waiting and now_ns >= self._all_ns:
            self._all_ns = now_ns + ALL_NS
            for place in list(self._waiting):
                self._turned(place)
        while due and due[0][0] <= now_ns:
            place = due[0][1]
            self._turned(place)
            next_ns = self._cameras[place].next_due_ns()
            heapq.heappop(due) if next_ns is None else heapq.heapreplace(due, (next_ns, place))

    def _turned(self, place: int) -> None:
        camera = self._cameras[place]
        camera.turn()
        if camera.behind():
            self._waiting.setdefault(place)
        else:
            self._waiting.pop(place, None)

    def hear(self) -> None:
        """Give each camera the answers to its frames."""
        answered = set()
        for key, answer in self.line.receive():
            place, number = divmod(key, NUMBERS)
            self._lanes[place].answer(number, answer)
            answered.add(place)
        for place in answered:
            camera = self._cameras[place]
            camera.hear()
            if camera.behind():
                self._waiting.setdefault(place)
        for place in list(self._waiting) if answered else ():
            if not self.line.room(answered=True):
                break
            del self._waiting[place]  # who had its turn goes behind the others
            self._turned(place)
        if self.line.ended:
            self.give_up()

    def waits(self) -> bool:
        """See Camera."""
        return not (self.line.connected() or self.line.ended) or bool(self._waiting)

    def finished(self) -> bool:
        """See Camera."""
        return all(camera.finished() for camera in self._cameras)

    def leave(self) -> None:
        """Do nothing: a camera that shares its connection stays."""

    def give_up(self) -> None:
        """See Camera."""
        self._due.clear()
        self._waiting.clear()
        for camera in self._cameras:
            camera.give_up()

    def count(self, change: int) -> None:
        """See Camera."""
        for camera in self._cameras:
            camera.count(change)


def bundled(cameras: Iterable[tuple[Camera, Lane]], *, clock: Clock) -> Sequence[Bundle]:
    """Put the cameras of each line together."""
    by_line: dict[Line, list[tuple[Camera, Lane]]] = {}
    for camera, lane in cameras:
        by_line.setdefault(lane.line, []).append((camera, lane))
    return [Bundle(line, its, clock=clock) for line, its in by_line.items()]
