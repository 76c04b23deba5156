"""Kafka through confluent-kafka (librdkafka): 8 us a record where kafka-python takes 95."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import confluent_kafka as ck

from edgewise.errors import UnreachableError
from edgewise.kafka import HINT, Header, Place, Record, no_topic

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

        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
        except BufferError:
            self._failed = "Kafka took none for so long that no more can wait"
        except ck.KafkaException as error:  # too large, no such topic, or this producer is past use
            self._failed = str(error)

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """See Producer."""
        self._producer.poll(wait_s)
        return self._safe()

    def close(self, *, within_s: float) -> Sequence[int]:
        """See Producer."""
        if left := self._producer.flush(within_s):
            self._failed = self._failed or f"{left} still under way after {within_s:.0f} s"
        if self._failed is not None:
            raise self._failure()
        return self._safe()

    def _failure(self) -> UnreachableError:
        return UnreachableError("Kafka", at=self._address, hint=f"a record was not stored: {self._failed}")

    def abandon(self) -> None:
        """See Producer."""
        self._producer.purge()
        self._producer.flush(0)

    def _safe(self) -> Sequence[int]:
        if self._failed is not None and not self._stored:
            raise self._failure()
        stored, self._stored = self._stored, []
        return stored


class ConfluentConsumer:
    """See ``edgewise.kafka.Consumer``."""

    def __init__(self, address: str, *, topics: Sequence[str], group: str | None, from_end: bool) -> None:
        self._address, self._group = address, group
        self._begin: dict[Place, int] = {}
        settings = {"bootstrap.servers": address, **CONSUMER, "group.id": group or "unused"}
        self._consumer = ck.Consumer(settings, logger=QUIET)
        listed = _answers(self._consumer, address)
        if group is not None:
            self._consumer.subscribe(list(topics))
            return
        for topic in topics:
            if topic not in listed.topics:
                raise no_topic(address, topic)
        numbers = {topic: listed.topics[topic].partitions for topic in topics}
        places = [ck.TopicPartition(topic, number) for topic in topics for number in numbers[topic]]
        for place in places:
            # A number, not the word: OFFSET_END would mean whenever Kafka is first asked.
            place.offset = self._ends(place)[from_end]
            self._begin[place.topic, place.partition] = place.offset
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
            low, high = self._ends(place)
            behind += max(0, high - max(low, self._reached(place)))
        return behind

    def _reached(self, place: ck.TopicPartition) -> int:
        """Say which offset comes next; where none was taken yet, which one it began at or the group committed."""
        if place.offset >= 0 or self._group is None:
            return max(place.offset, self._begin.get((place.topic, place.partition), 0))
        try:
            return int(self._consumer.committed([place], timeout=ANSWER_S)[0].offset)
        except ck.KafkaException as error:
            raise UnreachableError("Kafka", at=self._address, hint=HINT) from error

    def _ends(self, place: ck.TopicPartition) -> tuple[int, int]:
        """Ask for the first offset of a partition and the one after its last."""
        try:
            ends = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
        except ck.KafkaException as error:
            raise UnreachableError("Kafka", at=self._address, hint=HINT) from error
        if ends is None:
            raise UnreachableError("Kafka", at=self._address, hint=HINT)
        return ends

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
