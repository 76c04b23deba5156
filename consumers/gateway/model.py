"""Frames to classes: the model at work in a thread of its own, while frames and results move on.

A batch is whatever is waiting when the model becomes free, up to a maximum. An idle
model so takes a lone frame at once; a busy one finds a larger batch each time, until
the batches are as large as they may be.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from edgewise.arrival import Answer, Opened
from edgewise.clock import Clock, Deadline
from edgewise.meter import OFF, Meter
from models.engine import Engine, answers


@dataclass(frozen=True, slots=True)
class Classified:
    """A frame and its answer."""

    opened: Opened
    answer: Answer


class Classifier:
    """Takes frames one by one, gives answers batch by batch."""

    def __init__(
        self, engine: Engine, *, batch_max: int, batch_wait_s: float, clock: Clock, meter: Meter = OFF
    ) -> None:
        self.engine, self._meter = engine, meter
        self._batch_max, self._batch_wait_s, self._clock = batch_max, batch_wait_s, clock
        self._waiting: queue.SimpleQueue[Opened | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[Sequence[Classified] | Exception] = queue.SimpleQueue()
        self.under_way = 0
        self._thread = threading.Thread(target=self._work, name="classifier", daemon=True)
        self._thread.start()

    def submit(self, opened: Opened) -> None:
        """Put a frame in line."""
        self.under_way += 1
        self._waiting.put(opened)

    def answers(self) -> Sequence[Classified]:
        """Give the answers since the last call, without waiting. What the engine raised is raised here."""
        done: list[Classified] = []
        while not self._answers.empty():
            answer = self._answers.get()
            if isinstance(answer, Exception):
                raise answer
            done.extend(answer)
        self.under_way -= len(done)
        return done

    def close(self) -> None:
        """Let the thread end after what is in line."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch = [first, *self._more()]
            try:
                self._answers.put(self._classified(batch))
            except Exception as error:  # noqa: BLE001 - raised again in the thread that asks
                self._answers.put(error)
                return

    def _more(self) -> list[Opened]:
        """Take what else is in line, and wait for more only as long as the setting says."""
        more: list[Opened] = []
        deadline = Deadline(self._clock, within_s=self._batch_wait_s)
        while len(more) < self._batch_max - 1:
            try:
                one = self._waiting.get(timeout=deadline.left_s()) if self._batch_wait_s else self._waiting.get_nowait()
            except queue.Empty:
                break
            if one is None:
                self._waiting.put(None)  # the end stays in line, for the loop to see
                break
            more.append(one)
        return more

    def _classified(self, batch: Sequence[Opened]) -> list[Classified]:
        found = answers(self.engine, batch, clock=self._clock)
        self._meter.classified(batch, found[0])
        return [Classified(opened, answer) for opened, answer in zip(batch, found, strict=True)]
