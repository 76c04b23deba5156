"""Frames in: from MQTT as a session, or from Kafka as a consumer group; then opened and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewise import codecs
from edgewise.arrival import Arrival, bridged_ns
from edgewise.clock import Clock
from edgewise.errors import FrameError
from edgewise.kafka import Consumer
from edgewise.messages import Frame, Rule, decode_frame
from edgewise.prefix import Prefix

GROUP: Final = "gateway"


class Source(Protocol):
    """Where frames come from; what is not finished comes again after a crash."""

    def take(self, *, limit: int, wait_s: float) -> Sequence[Arrival]:
        """Give what has arrived; wait at most so long for the first."""

    def stay(self) -> None:
        """Keep the connection alive while nothing is taken from it."""

    def finish(self, receipts: Sequence[int]) -> None:
        """Give these back as done: answered or rejected, and safe in Kafka."""

    def close(self, *, end_session: bool) -> None:
        """Leave in order."""


class KafkaSource:
    """A member of a consumer group; offsets are committed for the finished prefix only."""

    def __init__(self, consumer: Consumer, *, clock: Clock) -> None:
        self._consumer, self._clock = consumer, clock
        self._under_way: Prefix[tuple[str, int, int]] = Prefix()

    def take(self, *, limit: int, wait_s: float) -> Sequence[Arrival]:
        """See Source."""
        records = self._consumer.take(limit=limit, wait_s=wait_s)
        now_ns = self._clock.now_ns()
        arrivals = []
        for record in records:
            receipt = self._under_way.begin((record.topic, record.partition, record.offset))
            arrivals.append(
                Arrival(
                    camera=record.key,
                    wire=record.value,
                    receipt=receipt,
                    received_ns=now_ns,
                    origin=f"kafka {record.topic}/{record.partition}@{record.offset}",
                    bridged_ns=bridged_ns(record.headers),
                    appended_ns=record.appended_ns,
                )
            )
        return arrivals

    def stay(self) -> None:
        """See Source; the clients do it in threads of their own, for five minutes without a take."""

    def finish(self, receipts: Sequence[int]) -> None:
        """See Source."""
        safe = self._under_way.finish(receipts)
        self._consumer.commit({(topic, partition): offset + 1 for topic, partition, offset in safe})

    def close(self, *, end_session: bool) -> None:  # noqa: ARG002 - a group has no session to end
        """See Source."""
        self._consumer.close()


@dataclass(frozen=True, slots=True)
class Opened:
    """A frame that keeps all rules."""

    arrival: Arrival
    frame: Frame
    image: NDArray[np.uint8]
    """Height x width x 3."""


def opened(arrival: Arrival, *, shape: tuple[int, int, int]) -> Opened:
    """Decode a frame and its image for a model that takes images of this shape.

    Raises:
        FrameError: it breaks a rule, or the model takes other images.
    """
    frame = decode_frame(arrival.wire)
    if frame.camera != arrival.camera:
        raise FrameError(Rule.CAMERA, f"{frame.camera!r} inside, {arrival.camera[:80]!r} on the way")
    height, width, _ = shape
    if (frame.height, frame.width) != (height, width):  # before decoding: a picture may unpack to megabytes
        raise FrameError(Rule.DIMENSIONS, f"{frame.width} x {frame.height} pixels, the model takes {width} x {height}")
    return Opened(arrival, frame, codecs.decode(frame))
