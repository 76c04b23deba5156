"""How far a Kafka consumer group is behind, asked and told without joining it.

``of`` is one probe for gateway and cluster alike; ``GroupOffsets`` commits for a reader
that keeps its offsets elsewhere, such as Spark in its checkpoint, so that the probe and
ordinary Kafka tools see how far it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeVar

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.errors import (
    FencedInstanceIdError,
    IllegalGenerationError,
    KafkaError,
    NoError,
    RebalanceInProgressError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from kafka.structs import OffsetAndMetadata
from rich.console import Group, RenderableType
from rich.text import Text

from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.errors import ConfigError, UnreachableError
from edgewise.kafka import HINT, access, no_topic
from edgewise.kafka.pure import ANSWER_MS, reaching
from edgewise.metrics import LAG_FRAMES, Reading
from edgewise.show import count, grid
from edgewise.topics import FRAMES

GROUPS: Final = ("gateway", "cluster")
ANSWER_S: Final = ANSWER_MS / 1000
COMMIT_S: Final = 5.0
LOOK_AGAIN_S: Final = 0.1
JOINED: Final = {UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError, FencedInstanceIdError}
"""What Kafka says to whoever commits from outside to a group that has members."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is in one partition."""

    partition: int
    committed: int | None
    """Offset that the group goes on from; None where it has committed nothing."""
    end: int
    """Offset that the next record will get."""

    @property
    def lag(self) -> int | None:
        """Records that the group has not finished, as Kafka's own tools count them; None where nothing was committed.

        Less than nothing means that the topic was made anew since.
        """
        return None if self.committed is None else self.end - self.committed


def total(partitions: Sequence[PartitionLag]) -> int | None:
    """Add up a group's lag; None if it has committed nothing where there are records, or nothing at all."""
    lags = [one.lag for one in partitions if one.lag is not None]
    unknown = any(one.lag is None and one.end for one in partitions)
    return sum(lags) if lags and not unknown else None


def of(address: str, group: str, *, topic: str = FRAMES) -> list[PartitionLag]:
    """Look how far a group is, by partition; a group that nobody knows has committed nothing.

    Raises:
        UnreachableError: Kafka does not answer.
        MissingError: it has no such topic.
    """
    with closing(_connected(address)) as admin:
        return _answered(lambda: _looked(admin, address, group, topic), address)


def _connected(address: str) -> Any:  # noqa: ANN401 - ships no types
    with reaching(address):
        return KafkaAdminClient(
            bootstrap_servers=address,
            bootstrap_timeout_ms=ANSWER_MS,
            request_timeout_ms=ANSWER_MS,
            **access.pure(),
        )


def _looked(admin: Any, address: str, group: str, topic: str) -> list[PartitionLag]:  # noqa: ANN401 - ships no types
    (found,) = admin.describe_topics([topic])
    if not found["partitions"]:
        raise no_topic(address, topic)
    places = [TopicPartition(topic, number) for number in sorted(one["partition_index"] for one in found["partitions"])]
    # The ends are asked for last: records that come meanwhile make a lag, and never less than none.
    committed = admin.list_group_offsets({group: places})[group]
    ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST))
    offsets = {place: said.offset for place, said in committed.items() if said.offset >= 0}
    return [PartitionLag(place.partition, offsets.get(place), ends[place].offset) for place in places]


def _answered(ask: Callable[[], T], address: str) -> T:
    """Ask again for a while: a Kafka that has just started first has to find who keeps the groups."""
    deadline = Deadline(SystemClock(), within_s=ANSWER_S)
    while True:
        try:
            return ask()
        except KafkaError as error:
            if not error.retriable:
                raise access.explained(address, error, hint=f"it refused: {error}") from error
            if deadline.passed():
                raise UnreachableError("Kafka", at=address, hint=HINT) from error
        deadline.pause(for_s=LOOK_AGAIN_S)


class GroupOffsets:
    """Commits offsets to a group that nobody joins, over one connection, from any thread.

    kafka-python does it in 4 ms and 1.3 ms of CPU. confluent-kafka's consumer would take
    2.5 and 0.3, but holds its caller for its whole session timeout while Kafka is away,
    and librdkafka's administration client ends the process then.
    """

    def __init__(self, address: str, group: str, *, topic: str = FRAMES) -> None:
        self._address, self._group, self._topic = address, group, topic
        self._admin: Any = None  # kafka-python ships no types
        self._turn = Lock()

    def commit(self, following: Mapping[int, int], *, within_s: float = COMMIT_S) -> None:
        """Remember, by partition, the offset to go on from.

        Raises:
            UnreachableError: Kafka has not taken them in time; a later call connects again.
            ConfigError: the group has members, so that only they may commit.
            MissingError: Kafka has no such topic or partition.
        """
        if not following:
            return
        places = {
            TopicPartition(self._topic, number): OffsetAndMetadata(offset, "", -1)
            for number, offset in following.items()
        }
        deadline = Deadline(SystemClock(), within_s=within_s)
        with self._turn:
            while refused := self._refusals(places, within_s=deadline.left_s()):
                if refused & JOINED:
                    raise ConfigError(
                        f"the Kafka group {self._group!r} has members, and offsets from outside are refused; "
                        "end the program that joined it, or use another group"
                    )
                if deadline.passed():
                    if UnknownTopicOrPartitionError in refused:
                        raise no_topic(self._address, self._topic)
                    said = ", ".join(sorted(error.__name__ for error in refused))
                    hint = f"it has not taken the offsets of group {self._group!r} in {within_s:.0f} s: {said}"
                    raise UnreachableError("Kafka", at=self._address, hint=hint)
                deadline.pause(for_s=LOOK_AGAIN_S)

    def _refusals(self, places: Mapping[Any, Any], *, within_s: float) -> set[type[KafkaError]]:
        """Commit once; give the errors that Kafka answered with, or that came in place of an answer."""
        wait_ms = max(1, round(within_s * 1000))
        try:
            if self._admin is None:
                self._admin = KafkaAdminClient(
                    bootstrap_servers=self._address,
                    bootstrap_timeout_ms=wait_ms,
                    request_timeout_ms=ANSWER_MS,
                    **access.pure(),
                )
            said = self._admin.alter_group_offsets(self._group, places)
        except KafkaError as error:
            # A connection that has failed is not mended but made anew.
            self._drop()
            return {type(error)}
        return {error for error in said.values() if error is not NoError}

    def _drop(self) -> None:
        if self._admin is not None:
            self._admin.close()
        self._admin = None

    def close(self) -> None:
        """Let the connection go."""
        with self._turn:
            self._drop()


Look = Mapping[str, Sequence[PartitionLag]]
"""Groups at one moment, by their names."""


class Probe:
    """Looks at groups again and again over one connection; commits nothing and joins none."""

    def __init__(self, address: str, *, topic: str = FRAMES) -> None:
        self._address, self._topic = address, topic
        self._admin: Any = None  # kafka-python ships no types

    def look(self, groups: Sequence[str]) -> Look:
        """Look once.

        Raises:
            UnreachableError: Kafka does not answer; a later look connects again.
            MissingError: it has no such topic.
        """
        try:
            self._admin = self._admin or _connected(self._address)
            return _answered(
                lambda: {group: _looked(self._admin, self._address, group, self._topic) for group in groups},
                self._address,
            )
        except UnreachableError:
            self.close()
            raise

    def close(self) -> None:
        """Let the connection go."""
        if self._admin is not None:
            self._admin.close()
        self._admin = None


def told(address: str, group: str) -> Callable[[], Iterator[Reading]]:
    """Give what asks Kafka at each call how far a group is behind: by offsets, so that one which hangs shows it too."""
    probe = Probe(address)

    def readings() -> Iterator[Reading]:
        if (behind := total(probe.look([group])[group])) is not None:
            yield LAG_FRAMES.of(behind)

    return readings


def looks(address: str, *, groups: Sequence[str], every_s: float | None, clock: Clock) -> Iterator[Look]:
    """Look once, or again and again.

    Raises:
        UnreachableError, MissingError: see of.
    """
    while True:
        yield {group: of(address, group) for group in groups}
        if every_s is None:
            return
        Deadline(clock, within_s=every_s).pause(for_s=every_s)


def rendered(look: Look) -> RenderableType:
    """Lay a look out for the terminal: each partition, each group's sum."""
    table = grid("group", numbers=("partition", "committed", "end", "lag"))
    for group, partitions in look.items():
        for one in partitions:
            table.add_row(group, str(one.partition), count(one.committed), count(one.end), count(one.lag))
        table.add_row(group, "all", "", "", count(total(partitions)), style="bold")
    silent = [group for group, partitions in look.items() if all(one.committed is None for one in partitions)]
    notes = [
        f"{group} has committed nothing: it has finished no record yet, or has no group. "
        "A gateway that reads MQTT has none."
        for group in silent
    ]
    return Group(table, *(Text(note, style="dim") for note in notes))


def line(look: Look, *, at_ns: int) -> str:
    """Write a look as one line of JSON."""
    groups = {
        group: {
            "lag": total(partitions),
            "partitions": [
                {"partition": one.partition, "committed": one.committed, "end": one.end, "lag": one.lag}
                for one in partitions
            ],
        }
        for group, partitions in look.items()
    }
    return json.dumps({"at_ns": at_ns, "topic": FRAMES, "groups": groups})
