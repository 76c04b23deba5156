"""Kafka through kafka-python: no compiled client, ten times the CPU."""

import logging
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import AuthorizationError, KafkaError, SaslAuthenticationFailedError
from kafka.structs import OffsetAndMetadata

from edgewise import security
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import EdgewiseError, UnreachableError
from edgewise.kafka import Header, Place, Record, access, no_topic

POLL_S: Final = 0.001
ANSWER_MS: Final = 10_000
JOIN_MS: Final = 2_000
"""That a take waits, at least, while its group is being joined."""
FOREVER_MS: Final = 2_147_483_647
logging.getLogger("kafka").setLevel(logging.CRITICAL)  # the parts say in their own words that a broker is away

SPARING: Final = {"fetch_min_bytes": 262_144, "fetch_max_wait_ms": 250, "max_partition_fetch_bytes": 262_144}
"""Of a reader that only looks: see confluent.py."""


class _TurnedAway(logging.Handler):
    """Hears whether Kafka knew our password: kafka-python says it in its log alone, tries on, and is then too late.

    Kafka hangs up with its refusal, and kafka-python may see no more than that it hung up.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.times = 0

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        for one in record.args or ():
            self.times += isinstance(one, SaslAuthenticationFailedError) or str(one).endswith(HUNG_UP)


HUNG_UP: Final = "socket disconnected"
OFTEN: Final = 3
"""Times that somebody who answers over TLS hangs up on us before it is the password, and no restart."""
TURNED_AWAY: Final = _TurnedAway()
CONNECTING: Final = logging.getLogger("kafka.net.manager")
CONNECTING.setLevel(logging.WARNING)
CONNECTING.propagate = False
CONNECTING.addHandler(TURNED_AWAY)


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Turn whatever kafka-python raises into a Kafka that does not answer, or does not let us.

    Raises:
        UnreachableError, RefusedError: in place of KafkaError.
    """
    TURNED_AWAY.times = 0
    try:
        yield
    except KafkaError as error:
        problem = access.explained(address, error)
        if isinstance(problem, UnreachableError) and TURNED_AWAY.times >= OFTEN and security.in_force().kafka:
            problem = access.wrong_password(address)
        raise problem from error


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
                **access.pure(),
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

    def _failure(self) -> EdgewiseError:
        # It says in words alone that a user may write nothing at all.
        if isinstance(self._failed, AuthorizationError) or "AuthorizationFailed" in str(self._failed):
            return access.forbidden(self._address, str(self._failed))
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
    """See ``edgewise.kafka.Consumer`` and ``Looker``."""

    def __init__(
        self, address: str, *, topics: Sequence[str], group: str | None, from_end: bool, sparing: bool = False
    ) -> None:
        self._address = address
        with reaching(address):
            self._consumer = KafkaConsumer(
                bootstrap_servers=address,
                group_id=group,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                bootstrap_timeout_ms=ANSWER_MS,
                reconnect_backoff_max_ms=1000,
                **access.pure(),
                **({"fetch_max_wait_ms": 20} | (SPARING if sparing else {})),
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
            taken = self._consumer.poll(timeout_ms=self._patience_ms(wait_s), max_records=limit)
        return [_record(found) for records in taken.values() for found in records]

    def _patience_ms(self, wait_s: float) -> int:
        """Give a poll's time: long enough to be told which partitions are ours, if Kafka is about to say so.

        kafka-python 3.0.12 forgets an answer that comes when no poll waits for it, then holds the group for joined and
        never reads.
        """
        group = self._consumer._coordinator  # noqa: SLF001 - there is no other way to know
        if group is None or not group.rejoining:
            return round(wait_s * 1000)
        if not group.need_rejoin():
            group.request_rejoin()
        return max(JOIN_MS, round(wait_s * 1000))

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

    def skip(self) -> int:
        """See Looker."""
        passed = self.lag()
        with reaching(self._address):
            places = list(self._consumer.assignment())
            self._consumer.seek_to_end(*places)
            for place in places:
                self._consumer.position(place)  # asks Kafka now, not at the first take
        return passed

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
