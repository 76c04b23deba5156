"""One camera: sends what is due, drops what is too late, counts what became of each frame."""

from collections import deque
from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgewise.account import CameraAccount, Plan, ranges
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Clock
from edgewise.messages import Frame, encode_frame
from edgewise.mqtt.outbox import Answer, MqttOutbox
from edgewise.summary import Limits

AGAIN_NS: Final = 100 * MILLISECOND_NS
"""Until a frame that nobody heard is sent again: a bridge that lost its session is back by then."""

LATE_NS: Final = round(Limits().late_ms * MILLISECOND_NS)
"""After due, from which a frame counts as late."""

Payload = Callable[[int], bytes]
"""The encoded image at a place in the split."""


@dataclass(slots=True)
class Tally:
    """What the cameras of a process have done so far, all of them together."""

    connected: int = 0
    sent: int = 0
    confirmed: int = 0
    late: int = 0
    """Sent more than LATE_NS after they were due."""
    dropped: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        """Add another process'."""
        return Tally(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


class Camera:
    """A schedule on its way out. The schedule never moves: lateness is counted, not hidden."""

    def __init__(
        self,
        plan: Plan,
        index: int,
        *,
        outbox: MqttOutbox,
        payload: Payload,
        size: tuple[int, int],
        tally: Tally,
        clock: Clock,
    ) -> None:
        self.name = plan.camera(index)
        self.outbox = outbox
        self._plan, self._payload, self.tally, self._clock = plan, payload, tally, clock
        self._height, self._width = size
        self._due_ns, self._images = plan.due_ns(index), plan.image(index)
        self._next = 0
        self._stopping = False
        self._waiting: deque[int] = deque()
        self._fates: dict[Answer, list[int]] = {answer: [] for answer in Answer}
        self._dropped: list[int] = []
        self._late_ns: dict[int, int] = {}
        """Of each frame sent; sent again, of the last time."""
        self._again: deque[tuple[int, int]] = deque()
        """Moment, number: frames that nobody heard, to be sent once more."""

    def next_due_ns(self) -> int | None:
        """Say when the next frame is due; None after the last."""
        return int(self._due_ns[self._next]) if self._next < len(self._due_ns) else None

    def turn(self) -> None:
        """Send what is due and fits the window; drop what has waited too long."""
        now_ns = self._clock.now_ns()
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            self._waiting.append(self._next)
            self._next += 1
        while self._again and self._again[0][0] <= now_ns:
            self._waiting.append(self._again.popleft()[1])
        give_up_ns = now_ns - round(self._plan.drop_after_s * SECOND_NS)
        while self._waiting and (self.outbox.free() or self._due_ns[self._waiting[0]] < give_up_ns):
            number = self._waiting.popleft()
            if self._due_ns[number] >= give_up_ns:
                self._send(number)
            elif number in self._late_ns:
                self._fates[Answer.UNHEARD].append(number)
            else:
                self._dropped.append(number)
                self.tally.dropped += 1

    def _send(self, number: int) -> None:
        due_ns, sent_ns = int(self._due_ns[number]), self._clock.now_ns()
        image = int(self._images[number])
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
            due_ns=due_ns,
            sent_ns=sent_ns,
            payload=self._payload(image),
        )
        self.outbox.send(number, encode_frame(frame))
        if number not in self._late_ns:
            self.tally.sent += 1
            self.tally.late += sent_ns - due_ns > LATE_NS
        self._late_ns[number] = sent_ns - due_ns

    def hear(self) -> None:
        """Count the broker's answers; what nobody heard is sent again while its time lasts."""
        now_ns = self._clock.now_ns()
        for number, answer in self.outbox.receive():
            in_time = now_ns + AGAIN_NS <= self._due_ns[number] + round(self._plan.drop_after_s * SECOND_NS)
            if answer is Answer.UNHEARD and in_time and not self._stopping:
                self._again.append((now_ns + AGAIN_NS, number))
            else:
                self._fates[answer].append(number)
                self.tally.confirmed += answer is Answer.CONFIRMED

    def give_up(self) -> None:
        """Drop what is not sent: somebody asked to stop."""
        self._stopping = True
        unsent = [number for number in self._waiting if number not in self._late_ns]
        unsent += range(self._next, len(self._due_ns))
        self._dropped += unsent
        self.tally.dropped += len(unsent)
        again = [number for number in self._waiting if number in self._late_ns]
        self._fates[Answer.UNHEARD] += [*again, *(number for _, number in self._again)]
        self._waiting.clear()
        self._again.clear()
        self._next = len(self._due_ns)

    def waits(self) -> bool:
        """Say whether it waits for more than its next frame: for a connection, or with frames that were due."""
        return self.outbox.connection is None or bool(self._waiting or self._again)

    def finished(self) -> bool:
        """Say whether every frame was dropped or answered."""
        waiting = self._waiting or self._again or self.outbox.in_flight()
        return self._next == len(self._due_ns) and not waiting

    def late_ns(self) -> NDArray[np.int64]:
        """Give the lateness of each frame sent."""
        return np.array(list(self._late_ns.values()), dtype=np.int64)

    def account(self) -> CameraAccount:
        """Say what became of each frame."""
        return CameraAccount(
            run=self._plan.run,
            camera=self.name,
            sent=ranges(sorted(self._late_ns)),
            confirmed=ranges(sorted(self._fates[Answer.CONFIRMED])),
            unheard=ranges(sorted(self._fates[Answer.UNHEARD])),
            refused=ranges(sorted(self._fates[Answer.REFUSED])),
            dropped=ranges(sorted(self._dropped)),
        )

    def counts(self) -> dict[str, int]:
        """Give the account in numbers."""
        return {
            "scheduled": len(self._due_ns),
            "sent": len(self._late_ns),
            "confirmed": len(self._fates[Answer.CONFIRMED]),
            "unheard": len(self._fates[Answer.UNHEARD]),
            "refused": len(self._fates[Answer.REFUSED]),
            "dropped_at_source": len(self._dropped),
        }
