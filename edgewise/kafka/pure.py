"""Kafka through kafka-python: no compiled client, ten times the CPU."""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

from edgewise.clock import Deadline, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import HINT, Header, Place, Record, no_topic

POLL_S: Final = 0.001
ANSWER_MS: Final = 10_000
FOREVER_MS: Final = 2_147_483_647
logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the parts say in their own words that a broker is away


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turn whatever kafka-python raises into a Kafka that does not answer.

    Raises:
        UnreachableError: in place of KafkaError.
    """
    try:
        yield
    except KafkaError as error:
        raise UnreachableError("Kafka", at=address, hint=HINT) from error


class PureProducer:
    """See ``edgewise.kafka.Producer``."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stored: deque[int] = deque()  # filled by kafka-python's sender thread
        self._failed: BaseException | None = None
        with reaching(address):
            self._producer = KafkaProducer(
                bootstrap_servers=address,
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                batch_size=131_072,
                max_request_size=2_097_152,
                delivery_timeout_ms=FOREVER_MS,
                bootstrap_timeout_ms=ANSWER_MS,
                max_block_ms=ANSWER_MS,
                reconnect_backoff_max_ms=1000,
            )

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:
        """See Producer."""
        try:
            future = self._producer.send(topic, value, key=key.encode(), headers=list(headers))
        except KafkaError as error:
            self._give_up(error)
            return
        future.add_callback(lambda _: self._stored.append(receipt))
        future.add_errback(self._give_up)

    def _give_up(self, error: BaseException) -> None:
        self._failed = error

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """See Producer."""
        deadline = Deadline(SystemClock(), within_s=wait_s)
        while not self._stored and not self._failed and not deadline.passed():
            deadline.pause(for_s=POLL_S)
        return self._safe()

    def close(self, *, within_s: float) -> Sequence[int]:
        """See Producer."""
        try:
            self._producer.close(timeout=within_s)
        except KafkaError as error:
            self._give_up(error)
        if self._failed is not None:
            raise self._failure()
        return self._safe()

    def _failure(self) -> UnreachableError:
        return UnreachableError("Kafka", at=self._address, hint=f"a record was not stored: {self._failed!r}")

    def abandon(self) -> None:
        """See Producer."""
        with suppress(KafkaError):
            self._producer.close(timeout=0)

    def _safe(self) -> Sequence[int]:
        if self._failed is not None and not self._stored:
            raise self._failure()
        return [self._stored.popleft() for _ in range(len(self._stored))]


class PureConsumer:
    """See ``edgewise.kafka.Consumer``."""

    def __init__(self, address: str, *, topics: Sequence[str], group: str | None, from_end: bool) -> None:
        self._address = address
        with reaching(address):
            self._consumer = KafkaConsumer(
                bootstrap_servers=address,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                fetch_max_wait_ms=20,
                bootstrap_timeout_ms=ANSWER_MS,
                reconnect_backoff_max_ms=1000,
            )
            if group is None:
                self._assign(topics, from_end=from_end)
            else:
                self._consumer.subscribe(list(topics))

    def _assign(self, topics: Sequence[str], *, from_end: bool) -> None:
        numbers = {topic: self._consumer.partitions_for_topic(topic) for topic in topics}
        for topic, found in numbers.items():
            if not found:
                raise no_topic(self._address, topic)
        places = [TopicPartition(topic, number) for topic, found in numbers.items() for number in found or ()]
        self._consumer.assign(places)
        (self._consumer.seek_to_end if from_end else self._consumer.seek_to_beginning)(*places)
        for place in places:
            self._consumer.position(place)  # asks Kafka now, not at the first take

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        """See Consumer."""
        with reaching(self._address):
            taken = self._consumer.poll(timeout_ms=round(wait_s * 1000), max_records=limit)
        return [_record(found) for records in taken.values() for found in records]

    def commit(self, following: Mapping[Place, int]) -> None:
        """See Consumer."""
        if following:
            offsets = {TopicPartition(*place): OffsetAndMetadata(offset, "", -1) for place, offset in following.items()}
            with reaching(self._address):
                self._consumer.commit_async(offsets)

    def lag(self) -> int:
        """See Consumer."""
        with reaching(self._address):
            places = list(self._consumer.assignment())
            ends = self._consumer.end_offsets(places)
            return sum(max(0, ends[place] - self._consumer.position(place)) for place in places)

    def close(self) -> None:
        """See Consumer."""
        self._consumer.close()


def _record(found: Any) -> Record:  # noqa: ANN401 - kafka-python's records have no type
    return Record(
        topic=found.topic,
        partition=found.partition,
        offset=found.offset,
        key=(found.key or b"").decode(errors="replace"),
        value=found.value or b"",
        headers=found.headers or (),
        appended_ns=found.timestamp * 1_000_000,
    )
