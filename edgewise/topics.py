"""The Kafka topics: names, partitions, retention, limits. The one place that makes them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic, OffsetSpec
from kafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError

from edgewise.clock import Deadline, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import access
from edgewise.kafka.pure import reaching
from edgewise.messages import FRAME_MAX_BYTES

FRAMES: Final = "frames"
RESULTS: Final = "results"
REJECTED: Final = "frames-rejected"
RUNS: Final = "runs"

PARTITIONS: Final = 4
RECORD_MAX_BYTES: Final = FRAME_MAX_BYTES + 48_576
"""A frame of legal size with its key, headers and batch overhead."""
HOUR_MS: Final = 3_600_000
ANSWER_MS: Final = 10_000
AGAIN_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Topic:
    """What a topic must be."""

    partitions: int
    settings: Mapping[str, str]
    written_by: str


def plan(*, partitions: int = PARTITIONS) -> dict[str, Topic]:
    """Say what each topic must be; ``partitions`` is for frames and results."""
    stamped = {"message.timestamp.type": "LogAppendTime"}
    images = stamped | {"max.message.bytes": str(RECORD_MAX_BYTES)}
    kept = {"retention.ms": str(24 * HOUR_MS)}
    # Bytes a partition: a day of 50 frames a second of 3 KB would be 13 GB; a laptop keeps less.
    return {
        FRAMES: Topic(partitions, images | kept | {"retention.bytes": str(2 << 30)}, "bridge"),
        RESULTS: Topic(partitions, stamped | kept, "gateway, cluster"),
        REJECTED: Topic(1, images | {"retention.ms": str(14 * 24 * HOUR_MS)}, "bridge, gateway, cluster"),
        RUNS: Topic(1, stamped | {"cleanup.policy": "compact"}, "fleet, every part at its end"),
    }


@contextmanager
def administration(address: str) -> Iterator[KafkaAdminClient]:
    """Give a connection for asking and making, and close it.

    Raises:
        UnreachableError: Kafka does not answer.
        RefusedError: it does not know us.
    """
    with reaching(address):
        admin = KafkaAdminClient(bootstrap_servers=address, bootstrap_timeout_ms=ANSWER_MS, **access.pure())
    with closing(admin):
        yield admin


def ensure(address: str, *, partitions: int = PARTITIONS) -> None:
    """Make the topics that are not there yet; those that are stay as they are.

    Raises:
        UnreachableError: Kafka does not answer.
        RefusedError: it does not know us, or lets others make topics.
    """
    deadline = Deadline(SystemClock(), within_s=ANSWER_MS / 1000)
    with administration(address) as admin:
        while True:
            try:
                _make(admin, partitions)
            except InvalidReplicationFactorError as error:
                # So says a Kafka that answers, and whose brokers have not yet said that they are there.
                if deadline.passed():
                    raise UnreachableError("Kafka", at=address, hint=f"it has no brokers: {error}") from error
                deadline.pause(for_s=AGAIN_S)
            except KafkaError as error:
                raise access.explained(address, error, hint=f"its topics could not be made ready: {error}") from error
            else:
                return


def _make(admin: KafkaAdminClient, partitions: int) -> None:
    there = set(admin.list_topics())
    for name, topic in plan(partitions=partitions).items():
        if name in there:
            continue
        # -1 replicas: as many as the cluster's own default says.
        wanted = NewTopic(name, topic.partitions, -1, topic_configs=dict(topic.settings))
        try:
            admin.create_topics([wanted])
        except TopicAlreadyExistsError:
            continue  # another part was quicker
    # Made is not yet ready: for a moment a topic has no partitions, and a reader would wait for none of them.
    admin.wait_for_topics(list(plan()), timeout_ms=ANSWER_MS)


@contextmanager
def growth(address: str, names: Sequence[str]) -> Iterator[Callable[[], Mapping[str, int]]]:
    """Give what says how many records each of these topics got since; none of them is read.

    Raises:
        UnreachableError: Kafka does not answer, now or when it is asked.
    """
    with administration(address) as admin:
        with reaching(address):
            found = admin.describe_topics(list(names))
        places = [TopicPartition(one["name"], part["partition_index"]) for one in found for part in one["partitions"]]

        def ends() -> Counter[str]:
            counted: Counter[str] = Counter()
            with reaching(address):
                for place, said in admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST)).items():
                    counted[place.topic] += said.offset
            return counted

        first = ends()
        yield lambda: {name: end - first[name] for name, end in ends().items()}
