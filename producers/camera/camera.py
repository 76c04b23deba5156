"""One camera: sends what is due, drops what is too late, counts what became of each frame."""

from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.account import CameraAccount, Plan, Range, ranges
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.messages import Frame, encode_frame
from edgewise.mqtt.outbox import Answer, Outbox
from edgewise.parts import warn
from edgewise.summary import Limits
from edgewise.tracing import is_followed, traceparent
from producers.camera.tally import Tally

AGAIN_NS: Final = 100 * MILLISECOND_NS
"""Until a frame that nobody heard is sent again: a bridge that lost its session is back by then."""

LATE_NS: Final = round(Limits().late_ms * MILLISECOND_NS)
"""After due, from which a frame counts as late."""

UNSENT: Final = -(2**63)
"""In the place of a frame's lateness."""
DROPPED: Final = 1
FATES: Final = {Answer.CONFIRMED: 2, Answer.UNHEARD: 3, Answer.REFUSED: 4}
"""What has become of a frame; 0 is not known."""

Payload = Callable[[int], bytes]
"""The encoded image at a place in the split."""
Away = tuple[int, int]
"""From when to when a camera is away."""


class Camera:
    """A schedule on its way out. The schedule never moves: lateness is counted, not hidden."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        *,
        outbox: Outbox,
        payload: Payload,
        size: tuple[int, int],
        tally: Tally,
        clock: Clock,
        ahead_ns: int = 0,
    ) -> None:
        """Have nothing sent yet.

        Args:
            plan: what is to be sent.
            index: which of the plan's cameras this is.
            outbox: its way out.
            payload: what it sees.
            size: height and width of that.
            tally: that it counts into.
            clock: the right one, which it keeps its schedule by.
            ahead_ns: by how much the clock is wrong that it stamps its frames with.
        """
        self.name = plan.camera(index)
        self.outbox, self.line = outbox, outbox.line
        self._ahead_ns = ahead_ns
        self._plan, self._payload, self.tally, self._clock = plan, payload, tally, clock
        self._height, self._width = size
        self._due_ns, self._images = plan.due_ns(index), plan.image(index)
        self._follow_every = 0
        self._drop_ns = round(plan.drop_after_s * SECOND_NS)
        self._limit_ns = min(LATE_NS, self._drop_ns)
        self._absences: Iterator[Away] = iter(())
        self._away: Away | None = None
        self._postponed_ns = 0
        self._next = self._fresh = 0
        """Of the frames: which is due next, and from which on they had their turn just now, and in time."""
        self._stopping = self._warned = False
        self._waiting: deque[int] = deque()
        self._late_ns = array("q", [UNSENT]) * len(self._due_ns)
        """Of each frame when it was first sent: a copy says the same."""
        self._fates = bytearray(len(self._due_ns))
        self._again: deque[tuple[int, int]] = deque()
        """Moment, number: frames that nobody heard, to be sent once more."""
        self.last_ns = 0
        """Moment of its last frame or answer."""
        tally.scheduled += len(self._due_ns)

    def postpone(self, *, by_ns: int) -> None:
        """Let all of its schedule be so much later: it was worked out before the start was known."""
        self._due_ns = self._due_ns + by_ns
        self._postponed_ns += by_ns

    def lasts_ns(self) -> int:
        """Say how long after the plan's start its last frame is due."""
        return int(self._due_ns[-1]) - self._postponed_ns - self._plan.start_ns

    def next_due_ns(self) -> int | None:
        """Say when the next frame is due; None after the last."""
        return int(self._due_ns[self._next]) if self._next < len(self._due_ns) else None

    def turn(self) -> None:
        """Send what is due and fits the window; drop what has waited too long."""
        now_ns, self._fresh = self._clock.now_ns(), self._next
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            self._waiting.append(self._next)
            self._next += 1
            self.tally.due += 1
            if now_ns - due_ns > self._limit_ns:
                self.tally.overdue += 1
                self._fresh = self._next
        while self._again and self._again[0][0] <= now_ns:
            self._waiting.append(self._again.popleft()[1])
        give_up_ns = now_ns - self._drop_ns
        while self._waiting and (self.outbox.free() or self._due_ns[self._waiting[0]] < give_up_ns):
            number = self._waiting.popleft()
            if self._due_ns[number] >= give_up_ns:
                self._send(number)
            else:
                self._leave_it(number)

    def _leave_it(self, number: int) -> None:
        """Send a frame no more, or not at all."""
        if self._late_ns[number] == UNSENT:
            self._fates[number] = DROPPED
            self.tally.dropped += 1
        else:
            self._fates[number] = FATES[Answer.UNHEARD]
            self.tally.unheard += 1

    def _send(self, number: int) -> None:
        due_ns, now_ns = int(self._due_ns[number]), self._clock.now_ns()
        image = int(self._images[number])
        if self._late_ns[number] == UNSENT:
            self._late_ns[number] = late_ns = now_ns - due_ns
            self.tally.sent += 1
            self.tally.lateness.repeat(late_ns)
            self.tally.late += late_ns > LATE_NS
            self.tally.overdue += (
                number >= self._fresh and late_ns > self._limit_ns
            )  # in this turn: it waited for nobody
        frame = Frame(
            run=self._plan.run,
            camera=self.name,
            number=number,
            dataset=self._plan.dataset,
            split=self._plan.split,
            image=image,
            width=self._width,
            height=self._height,
            codec=self._plan.codec,
            due_ns=due_ns + self._ahead_ns,
            sent_ns=due_ns + self._late_ns[number] + self._ahead_ns,
            payload=self._payload(image),
        )
        wire = encode_frame(frame)
        followed = self._follow_every and is_followed(number, every=self._follow_every)
        self.outbox.send(number, wire, trace=traceparent(frame.run, self.name, number) if followed else None)
        self.tally.sent_bytes += len(wire)
        self.last_ns = now_ns

    def hear(self) -> None:
        """Count the broker's answers; what nobody heard is sent again while its time lasts."""
        if answers := self.outbox.receive():
            self.last_ns = now_ns = self._clock.now_ns()
            for number, answer in answers:
                in_time = now_ns + AGAIN_NS <= self._due_ns[number] + self._drop_ns
                if answer is Answer.UNHEARD and in_time and not self._stopping:
                    self._again.append((now_ns + AGAIN_NS, number))
                else:
                    self._fates[number] = FATES[answer]
                    self.tally.confirmed += answer is Answer.CONFIRMED
                    self.tally.unheard += answer is Answer.UNHEARD
                    self.tally.refused += answer is Answer.REFUSED
        if self.line.trouble is not None and not self._warned:
            self._warned = True
            warn(f"fleet: {self.name}: {self.line.trouble}", kind="fleet: trouble", camera=self.name)
        if self.line.ended:
            self.give_up()

    def give_up(self) -> None:
        """Send nothing more: somebody asked to stop, or there is no way out any more."""
        self._stopping = True
        before = self.tally.dropped
        for number in (*self._waiting, *(number for _, number in self._again), *range(self._next, len(self._due_ns))):
            self._leave_it(number)
        self.tally.given_up += self.tally.dropped - before
        self._waiting.clear()
        self._again.clear()
        self._next = len(self._due_ns)

    def follow(self, *, every: int) -> None:
        """Have each Nth frame carry a trace's name; 0 is none."""
        self._follow_every = every

    def absent(self, away: Iterator[Away]) -> None:
        """Have it leave its connection from one moment to another, again and again; they count as ``due_ns`` does."""
        self._absences = away
        self._away = next(away, None)

    def next_leave_ns(self) -> int | None:
        """Say when it leaves next; None if it stays."""
        return None if self._away is None else self._away[0] + self._postponed_ns

    def leave(self) -> None:
        """Leave in order, until its time away is over; frames that fall due meanwhile wait."""
        if self._away is not None:
            back_ns = self._away[1] + self._postponed_ns
            self.line.leave(for_ns=max(0, back_ns - self._clock.now_ns()))
            self._away = next(self._absences, None)

    def count(self, change: int) -> None:
        """Count its connection, or that it is gone."""
        self.tally.connected += change

    def waits(self) -> bool:
        """Say whether it waits for more than its next frame: for a connection, or with frames that were due."""
        return not (self.outbox.connected() or self.line.ended) or self.behind()

    def behind(self) -> bool:
        """Say whether frames wait that were due."""
        return bool(self._waiting or self._again)

    def finished(self) -> bool:
        """Say whether every frame was dropped or answered."""
        waiting = self._waiting or self._again or self.outbox.in_flight()
        return self._next == len(self._due_ns) and not waiting

    def late_ns(self) -> NDArray[np.int64]:
        """Give the lateness of each frame sent."""
        every = np.array(self._late_ns, dtype=np.int64)
        sent: NDArray[np.int64] = every[every != UNSENT]
        return sent

    def account(self) -> CameraAccount:
        """Say what became of each frame."""
        fates = np.frombuffer(self._fates, dtype=np.uint8)

        def which(fate: int) -> list[Range]:
            return ranges(np.flatnonzero(fates == fate).tolist())

        return CameraAccount(
            run=self._plan.run,
            camera=self.name,
            sent=ranges(np.flatnonzero(np.array(self._late_ns) != UNSENT).tolist()),
            confirmed=which(FATES[Answer.CONFIRMED]),
            unheard=which(FATES[Answer.UNHEARD]),
            refused=which(FATES[Answer.REFUSED]),
            dropped=which(DROPPED),
        )
