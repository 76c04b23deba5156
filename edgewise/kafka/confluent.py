"""Kafka through confluent-kafka (librdkafka): 8 us a record where kafka-python takes 95."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

import confluent_kafka as ck

from edgewise.clock import Deadline, SystemClock
from edgewise.errors import EdgewiseError, UnreachableError
from edgewise.kafka import HINT, Header, Place, Record, access, no_topic

ANSWER_S: Final = 10.0
LOOK_S: Final = 1.0
"""How often it is asked whether it was turned away: until then librdkafka goes on trying."""
FORBIDDEN: Final = (
    ck.KafkaError.TOPIC_AUTHORIZATION_FAILED,
    ck.KafkaError.CLUSTER_AUTHORIZATION_FAILED,  # to write anything at all
    ck.KafkaError.GROUP_AUTHORIZATION_FAILED,
)
NO_LEADER: Final = (ck.KafkaError.NOT_LEADER_FOR_PARTITION, ck.KafkaError.LEADER_NOT_AVAILABLE)
AGAIN_S: Final = 0.1
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

SPARING: Final = {
    "fetch.min.bytes": 262_144,
    "fetch.wait.max.ms": 250,
    "fetch.message.max.bytes": 262_144,
    "queued.min.messages": 2000,
    "queued.max.messages.kbytes": 4096,
}
"""Of a reader that only looks: a few large fetches a second, and no more of them in memory than is taken soon."""


class ConfluentProducer:
    """See ``edgewise.kafka.Producer``."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stored: list[int] = []
        self._failed: EdgewiseError | None = None
        self._producer, _ = _opened(ck.Producer, address, PRODUCER)

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:
        """See Producer."""

        def delivered(error: ck.KafkaError | None, _: ck.Message) -> None:
            if error is None:
                self._stored.append(receipt)
            else:
                self._failed = self._not_stored(error.str(), error)

        try:
            self._producer.produce(topic, value, key, headers=list(headers), on_delivery=delivered)
        except BufferError:
            self._failed = self._not_stored("Kafka took none for so long that no more can wait")
        except ck.KafkaException as error:  # too large, no such topic, or this producer is past use
            self._failed = self._not_stored(str(error), error.args[0])

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """See Producer."""
        try:
            self._producer.poll(wait_s)
        except ck.KafkaException as error:  # it may write nothing, and needs no record to find out
            self._failed = self._not_stored(str(error), error.args[0])
        return self._safe()

    def close(self, *, within_s: float) -> Sequence[int]:
        """See Producer."""
        if left := self._producer.flush(within_s):
            self._failed = self._failed or self._not_stored(f"{left} still under way after {within_s:.0f} s")
        if self._failed is not None:
            raise self._failed
        return self._safe()

    def _not_stored(self, why: str, error: ck.KafkaError | None = None) -> EdgewiseError:
        if error is not None and error.code() in FORBIDDEN:
            return access.forbidden(self._address, why)
        return UnreachableError("Kafka", at=self._address, hint=f"a record was not stored: {why}")

    def abandon(self) -> None:
        """See Producer."""
        self._producer.purge()
        self._producer.flush(0)

    def _safe(self) -> Sequence[int]:
        if self._failed is not None and not self._stored:
            raise self._failed
        stored, self._stored = self._stored, []
        return stored


class ConfluentConsumer:
    """See ``edgewise.kafka.Consumer`` and ``Looker``."""

    def __init__(
        self, address: str, *, topics: Sequence[str], group: str | None, from_end: bool, sparing: bool = False
    ) -> None:
        self._address, self._group = address, group
        self._begin: dict[Place, int] = {}
        settings = {**CONSUMER, **(SPARING if sparing else {}), "group.id": group or "unused"}
        self._consumer, listed = _opened(ck.Consumer, address, settings)
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
        with self._reaching():
            first = self._consumer.poll(wait_s)
            rest = self._consumer.consume(limit - 1, 0) if first is not None and limit > 1 else []
        messages = [first, *rest] if first is not None else []
        for message in messages:
            self._refuse(message.error())
        return [_record(message) for message in messages if message.error() is None]

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn what librdkafka raises into a Kafka that does not answer, or does not let us.

        Raises:
            UnreachableError, RefusedError: in place of KafkaException.
        """
        try:
            yield
        except ck.KafkaException as error:
            self._refuse(error.args[0])
            raise UnreachableError("Kafka", at=self._address, hint=HINT) from error

    def _refuse(self, error: ck.KafkaError | None) -> None:
        """Raise RefusedError for what no waiting mends; a reader without a group is in need of none."""
        if error is not None and error.code() in (FORBIDDEN if self._group is not None else FORBIDDEN[:2]):
            raise access.forbidden(self._address, error.str())

    def commit(self, following: Mapping[Place, int]) -> None:
        """See Consumer."""
        if following:
            places = [ck.TopicPartition(topic, number, offset) for (topic, number), offset in following.items()]
            with self._reaching():
                self._consumer.commit(offsets=places, asynchronous=True)

    def lag(self) -> int:
        """See Consumer."""
        behind = 0
        for place in self._places():
            low, high = self._ends(place)
            behind += max(0, high - max(low, self._reached(place)))
        return behind

    def skip(self) -> int:
        """See Looker."""
        places, passed = self._places(), 0
        for place in places:
            low, high = self._ends(place)
            passed += max(0, high - max(low, self._reached(place)))
            place.offset = self._begin[place.topic, place.partition] = high
        with self._reaching():
            self._consumer.assign(places)
        return passed

    def _places(self) -> list[ck.TopicPartition]:
        """Give the partitions that are read, each with the offset that comes next."""
        with self._reaching():
            return list(self._consumer.position(self._consumer.assignment()))

    def _reached(self, place: ck.TopicPartition) -> int:
        """Say which offset comes next; where none was taken yet, which one it began at or the group committed."""
        if place.offset >= 0 or self._group is None:
            return max(place.offset, self._begin.get((place.topic, place.partition), 0))
        with self._reaching():
            return int(self._consumer.committed([place], timeout=ANSWER_S)[0].offset)

    def _ends(self, place: ck.TopicPartition) -> tuple[int, int]:
        """Ask for the first offset of a partition and the one after its last."""
        deadline = Deadline(SystemClock(), within_s=ANSWER_S)
        while True:
            try:
                ends: tuple[int, int] | None = self._consumer.get_watermark_offsets(place, timeout=ANSWER_S)
            except ck.KafkaException as error:
                # A partition that was made a moment ago may have no leader yet.
                if error.args[0].code() in NO_LEADER and not deadline.passed():
                    deadline.pause(for_s=AGAIN_S)
                    continue
                self._refuse(error.args[0])
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


def _opened(kind: Any, address: str, settings: Mapping[str, Any]) -> tuple[Any, Any]:  # noqa: ANN401 - the stubs share no type
    """Open either client; give it and the topics that Kafka lists for it.

    Raises:
        UnreachableError, RefusedError: Kafka does not answer, or does not let us in.
    """
    heard: list[int] = []

    def hear(error: ck.KafkaError) -> None:
        heard.append(error.code())

    client = kind({"bootstrap.servers": address, **settings, **access.confluent(), "error_cb": hear}, logger=QUIET)
    deadline = Deadline(SystemClock(), within_s=ANSWER_S)
    while True:
        try:
            return client, client.list_topics(timeout=min(LOOK_S, max(0.1, deadline.left_s())))
        except ck.KafkaException as error:
            client.poll(0)  # now it tells what it has met
            if ck.KafkaError._AUTHENTICATION in heard:  # noqa: SLF001 - that is its public name
                raise access.wrong_password(address) from error
            if ck.KafkaError._SSL in heard or deadline.passed():  # noqa: SLF001
                raise access.explained(address, error) from error
