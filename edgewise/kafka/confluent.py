"""Kafka through confluent-kafka (librdkafka): 8 us a record where kafka-python takes 95."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import confluent_kafka as ck

from edgewise.errors import UnreachableError
from edgewise.kafka import HINT, Header, Place, Record

ANSWER_S: Final = 10.0
QUIET: Final = logging.getLogger("librdkafka")
"""librdkafka's own lines about a broker that is away: the parts say it in their own words."""

QUIET.setLevel(logging.CRITICAL + 1)

PRODUCER: Final = {
    "enable.idempotence": True,  # implies acks=all and keeps the order over retries
    "partitioner": "murmur2_random",  # the partition that Java and kafka-python choose for a key
    "linger.ms": 5,
    "message.timeout.ms": 0,  # never give a record up: the broker may come back
    "message.max.bytes": 2_097_152,
    "queue.buffering.max.messages": 1_000_000,
    "reconnect.backoff.max.ms": 1000,
}
CONSUMER: Final = {
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "fetch.wait.max.ms": 20,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 5000,
}


class ConfluentProducer:
    """See ``edgewise.kafka.Producer``."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stored: list[int] = []
        self._failed: str | None = None
        self._producer = ck.Producer({"bootstrap.servers": address, **PRODUCER}, logger=QUIET)
        _answers(self._producer, address)

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:
        """See Producer."""

        def delivered(error: ck.KafkaError | None, _: ck.Message) -> None:
            if error is None:
                self._stored.append(receipt)
            else:
                self._failed = error.str()

        self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """See Producer."""
        self._producer.poll(wait_s)
        return self._safe()

    def close(self, *, within_s: float) -> Sequence[int]:
        """See Producer."""
        self._producer.flush(within_s)
        return self._safe()

    def _safe(self) -> Sequence[int]:
        if self._failed is not None:
            raise UnreachableError("Kafka", at=self._address, hint=f"a record was not stored: {self._failed}")
        stored, self._stored = self._stored, []
        return stored


class ConfluentConsumer:
    """See ``edgewise.kafka.Consumer``."""

    def __init__(self, address: str, *, topics: Sequence[str], group: str | None, from_end: bool) -> None:
        self._group = group
        settings = {"bootstrap.servers": address, **CONSUMER, "group.id": group or "unused"}
        self._consumer = ck.Consumer(settings, logger=QUIET)
        listed = _answers(self._consumer, address)
        if group is not None:
            self._consumer.subscribe(list(topics))
            return
        begin = ck.OFFSET_END if from_end else ck.OFFSET_BEGINNING
        places = [
            ck.TopicPartition(topic, number, begin) for topic in topics for number in listed.topics[topic].partitions
        ]
        self._consumer.assign(places)

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        """See Consumer."""
        # One poll waits for the first record; consume() would wait for all of them.
        first = self._consumer.poll(wait_s)
        rest = self._consumer.consume(limit - 1, 0) if first is not None and limit > 1 else []
        messages = [first, *rest] if first is not None else []
        return [_record(message) for message in messages if message.error() is None]

    def commit(self, following: Mapping[Place, int]) -> None:
        """See Consumer."""
        if following:
            places = [ck.TopicPartition(topic, number, offset) for (topic, number), offset in following.items()]
            self._consumer.commit(offsets=places, asynchronous=True)

    def lag(self) -> int:
        """See Consumer."""
        behind = 0
        for place in self._consumer.position(self._consumer.assignment()):
            low, high = self._consumer.get_watermark_offsets(place, cached=True)
            behind += max(0, high - (place.offset if place.offset >= 0 else low))
        return behind

    def close(self) -> None:
        """See Consumer."""
        self._consumer.close()


def _record(message: ck.Message) -> Record:
    return Record(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=(message.key() or b"").decode(errors="replace"),
        value=message.value() or b"",
        headers=cast("Sequence[Header]", message.headers() or ()),
        appended_ns=message.timestamp()[1] * 1_000_000,
    )


def _answers(client: Any, address: str) -> Any:  # noqa: ANN401 - either client; the stubs share no type
    try:
        return client.list_topics(timeout=ANSWER_S)
    except ck.KafkaException as error:
        raise UnreachableError("Kafka", at=address, hint=HINT) from error
