"""The bridge's way into Kafka: frames unopened to ``frames``, what breaks a limit to ``frames-rejected``."""

from collections.abc import Sequence

from edgewise.arrival import BRIDGED_NS, Arrival
from edgewise.clock import Clock
from edgewise.errors import FrameError
from edgewise.kafka import Header, Producer
from edgewise.messages import refuse_camera_name, refuse_too_large
from edgewise.meter import OFF, Meter
from edgewise.rejects import reject
from edgewise.soundings import unsounded
from edgewise.topics import FRAMES
from edgewise.tracing import TRACEPARENT


class KafkaOutbox:
    """See ``brokers.bridge.carry.Outbox``."""

    def __init__(self, producer: Producer, *, clock: Clock, meter: Meter = OFF) -> None:
        self._producer, self._clock, self._meter = producer, clock, meter
        self.under_way = 0
        self.rejected = 0

    def store(self, frames: Sequence[Arrival]) -> None:
        """See Outbox."""
        passed = []
        for frame in frames:
            try:
                refuse_too_large(frame.wire)
                refuse_camera_name(frame.camera)
            except FrameError as error:
                reject(self._producer, frame, error=error, by="bridge")
                self.rejected += 1
                self._meter.refused(error.rule)
            else:
                headers: tuple[Header, ...] = ((BRIDGED_NS, b"%d" % frame.received_ns),)
                if frame.trace is not None:
                    headers += ((TRACEPARENT, frame.trace.encode()),)
                self._producer.send(FRAMES, key=frame.camera, value=frame.wire, receipt=frame.receipt, headers=headers)
                passed.append(frame)
        self._meter.passed(frames, on=passed)
        self.under_way += len(frames)

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """See Outbox."""
        receipts = unsounded(self._producer.stored(wait_s=wait_s))
        self._meter.stored(receipts, now_ns=self._clock.now_ns())
        self.under_way -= len(receipts)
        return receipts
