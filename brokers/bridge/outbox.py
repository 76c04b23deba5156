"""The bridge's way into Kafka: frames unopened to ``frames``, what breaks a limit to ``frames-rejected``."""

from collections.abc import Sequence

from edgewise.arrival import BRIDGED_NS, Arrival
from edgewise.errors import FrameError
from edgewise.kafka import Producer
from edgewise.messages import refuse_camera_name, refuse_too_large
from edgewise.rejects import reject
from edgewise.topics import FRAMES


class KafkaOutbox:
    """See ``brokers.bridge.carry.Outbox``."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.under_way = 0
        self.rejected = 0

    def store(self, frames: Sequence[Arrival]) -> None:
        """See Outbox."""
        for frame in frames:
            try:
                refuse_too_large(frame.wire)
                refuse_camera_name(frame.camera)
            except FrameError as error:
                reject(self._producer, frame, error=error, by="bridge")
                self.rejected += 1
            else:
                taken = ((BRIDGED_NS, b"%d" % frame.received_ns),)
                self._producer.send(FRAMES, key=frame.camera, value=frame.wire, receipt=frame.receipt, headers=taken)
        self.under_way += len(frames)

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """See Outbox."""
        receipts = self._producer.stored(wait_s=wait_s)
        self.under_way -= len(receipts)
        return receipts
