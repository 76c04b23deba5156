"""Kafka, as little of it as the parts need, through either of two clients.

confluent-kafka carries frames where its wheel installs; kafka-python is the pure-Python
alternative. Both keep the same contract (``tests/contract/test_kafka_clients.py``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from edgewise import security
from edgewise.errors import MissingError

HINT: Final = "start it with: edgewise up"

Header = tuple[str, bytes]
Place = tuple[str, int]
"""Topic and partition."""


class Client(StrEnum):
    """Which library talks to Kafka; ``auto`` is confluent where it is installed."""

    AUTO = "auto"
    CONFLUENT = "confluent"
    PYTHON = "kafka-python"


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it was read."""

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    headers: Sequence[Header]
    appended_ns: int
    """Kafka's append stamp: whole milliseconds, one for a producer's batch."""


class Producer(Protocol):
    """Stores records with acks=all, idempotent, each key in the order it was sent.

    A producer that could not store a record raises UnreachableError from ``stored`` or
    ``close``, once it has reported what is stored, and is of no more use: abandon it, and
    send what it had not reported as stored again by a new one.
    """

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:
        """Start storing a record; ``receipt`` is the sender's own name for it."""

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:
        """Give the receipts of what all replicas have since the last call; wait at most so long for the first."""

    def close(self, *, within_s: float) -> Sequence[int]:
        """Finish what is under way; give the receipts that became safe meanwhile."""

    def abandon(self) -> None:
        """Drop what is under way, at once: a new producer will be sent it again."""


class Consumer(Protocol):
    """Reads topics, from their beginning or from where its group left off."""

    def take(self, *, limit: int, wait_s: float) -> Sequence[Record]:
        """Give the records there are, at most ``limit``; wait at most so long for the first."""

    def commit(self, following: Mapping[Place, int]) -> None:
        """Remember, for the group, the offset to go on from at each place."""

    def lag(self) -> int:
        """Count the records that are in the topics and not yet taken."""

    def close(self) -> None:
        """Leave the group."""


class Looker(Consumer, Protocol):
    """Only looks, and must cost Kafka nothing: has no group, fetches seldom and little ahead."""

    def skip(self) -> int:
        """Go on from the end; give how many records are passed over."""


def no_topic(address: str, topic: str) -> MissingError:
    """Say that a topic is not there."""
    if (access := security.in_force().kafka) is not None:
        return MissingError(f"Kafka at {address} has no topic {topic!r} that user {access.user!r} may see")
    return MissingError(f"Kafka at {address} has no topic {topic!r}; a part makes it when it starts: edgewise bridge")


def confluent_installed() -> bool:
    """Say whether the fast client can be used here."""
    try:
        import confluent_kafka  # noqa: F401 - the import is the question
    except ImportError:
        return False
    return True


def settled(client: Client) -> Client:
    """Turn ``auto`` into the client that it means here."""
    if client is not Client.AUTO:
        return client
    return Client.CONFLUENT if confluent_installed() else Client.PYTHON


def producer(address: str, *, client: Client = Client.AUTO) -> Producer:
    """Open a producer.

    Raises:
        UnreachableError: Kafka does not answer.
    """
    if settled(client) is Client.CONFLUENT:
        from edgewise.kafka.confluent import ConfluentProducer as Chosen
    else:
        from edgewise.kafka.pure import PureProducer as Chosen  # type: ignore[assignment]
    return Chosen(address)


def consumer(
    address: str,
    *,
    topics: Sequence[str],
    group: str | None = None,
    client: Client = Client.AUTO,
    from_end: bool = False,
) -> Consumer:
    """Open a consumer: in a group that commits when told to, or alone over all partitions.

    Without a group it starts at the beginning of the topics, or at their end.

    Raises:
        UnreachableError: Kafka does not answer.
    """
    if settled(client) is Client.CONFLUENT:
        from edgewise.kafka.confluent import ConfluentConsumer as Chosen
    else:
        from edgewise.kafka.pure import PureConsumer as Chosen  # type: ignore[assignment]
    return Chosen(address, topics=topics, group=group, from_end=from_end)


def looker(address: str, *, topics: Sequence[str], client: Client = Client.AUTO, from_end: bool = False) -> Looker:
    """Open a reader that only looks, at the beginning of the topics or at their end.

    Raises:
        UnreachableError: Kafka does not answer.
    """
    if settled(client) is Client.CONFLUENT:
        from edgewise.kafka.confluent import ConfluentConsumer as Chosen
    else:
        from edgewise.kafka.pure import PureConsumer as Chosen  # type: ignore[assignment]
    return Chosen(address, topics=topics, group=None, from_end=from_end, sparing=True)
