"""Frames in: from MQTT as a session, or from Kafka as a consumer group."""

from collections.abc import Sequence
from typing import Final, Protocol

from edgewise.arrival import Arrival, bridged_ns
from edgewise.clock import Clock
from edgewise.kafka import Consumer
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
