"""What goes through a part, counted where it passes for whoever scrapes; a part that serves nothing counts nothing.

One thread of the part counts, the endpoint's threads read: numbers only grow, so that a
reading in between is at most a batch old.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from edgewise import metrics
from edgewise.arrival import Answer, Arrival, Opened
from edgewise.messages import Rule
from edgewise.metrics import Histogram, Reading


class Meter:
    """Counts of frames, bytes and rejections; sizes of batches; times of stages."""

    def __init__(self, *, on: bool = True) -> None:
        self.on = on
        self.received = self.received_bytes = self.sent = self.sent_bytes = 0
        self.rejected: Counter[str] = Counter()
        """By rule."""
        self.batches = Histogram(metrics.BATCH_FRAMES)
        self.engine = Histogram(metrics.ENGINE_SECONDS)
        self._stages = {
            stage: Histogram(metrics.STAGE_SECONDS) for stage in ("source", "transport", "queue", "inference", "store")
        }
        self._since_ns: dict[int, int] = {}
        """By receipt: since when Kafka owes an answer."""

    def took(self, frames: Sequence[Arrival]) -> None:
        """Count frames that came in."""
        if not self.on or not frames:
            return
        size_bytes = 0
        for frame in frames:
            size_bytes += len(frame.wire)
        self.received += len(frames)
        self.received_bytes += size_bytes

    def passed(self, frames: Sequence[Arrival], *, on: Sequence[Arrival]) -> None:
        """Count frames that came in together, and begin the last stage of those that were handed on as they are."""
        if not self.on or not frames:
            return
        since_ns, size_bytes = self._since_ns, 0
        for frame in on:
            since_ns[frame.receipt] = frame.received_ns
            size_bytes += len(frame.wire)
        self.sent_bytes += size_bytes
        self.received += len(frames)
        # Nearly always the same frames.
        self.received_bytes += size_bytes if len(on) == len(frames) else sum([len(frame.wire) for frame in frames])
        self.batches.repeat(len(frames))

    def classified(self, frames: Sequence[Opened], answer: Answer) -> None:
        """Count one call of the engine; the thread that calls it says so."""
        if not self.on:
            return
        started_ns, took_ns, count = answer.started_ns, answer.inferred_ns - answer.started_ns, len(frames)
        stages = self._stages
        self.batches.repeat(count)
        self.engine.repeat(took_ns)
        stages["inference"].repeat(took_ns, times=count)
        # A part that keeps up has one frame at a time: a list of its own for each stage would cost more than the count.
        source, transport, queue = stages["source"].repeat, stages["transport"].repeat, stages["queue"].repeat
        for one in frames:
            sent_ns, received_ns = one.frame.sent_ns, one.arrival.received_ns
            source(sent_ns - one.frame.due_ns)
            transport(received_ns - sent_ns)
            queue(started_ns - received_ns)

    def wrote(self, since_ns: Iterable[tuple[int, int]], *, size_bytes: int) -> None:
        """Begin the last stage of what was handed to Kafka, by receipt and since when it counts."""
        if self.on:
            self._since_ns.update(since_ns)
            self.sent_bytes += size_bytes

    def refused(self, rule: str) -> None:
        """Count a rejection."""
        if self.on:
            self.rejected[rule] += 1

    def stored(self, receipts: Sequence[int], *, now_ns: int) -> None:
        """End the last stage of what Kafka has acknowledged; what was rejected had none."""
        if not self.on or not receipts:
            return
        since_ns, store, count = self._since_ns, self._stages["store"].repeat, 0
        for receipt in receipts:
            began_ns = since_ns.pop(receipt, None)
            if began_ns is not None:
                store(now_ns - began_ns)
                count += 1
        self.sent += count

    def forget(self) -> None:
        """Drop what Kafka owes: it will be sent again, under other receipts."""
        self._since_ns.clear()

    def stages(self, *names: str) -> Iterator[Reading]:
        """Give the times of these stages."""
        for name in names:
            yield metrics.STAGE_SECONDS.of(self._stages[name], name)

    def taken_in(self) -> Iterator[Reading]:
        """Give what every part that takes frames counts: all rules, so that none appears from nowhere."""
        yield metrics.FRAMES_RECEIVED.of(self.received)
        yield metrics.RECEIVED_BYTES.of(self.received_bytes)
        yield metrics.SENT_BYTES.of(self.sent_bytes)
        yield metrics.BATCH_FRAMES.of(self.batches)
        for rule in Rule:
            yield metrics.REJECTED.of(self.rejected[rule.value], rule.value)


OFF = Meter(on=False)
