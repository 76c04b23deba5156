"""How far a group is, against a real Kafka: what is committed from outside is what Kafka's own view shows."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from edgewise import addresses, lag, processes, topics
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import ConfigError, MissingError, UnreachableError
from edgewise.kafka import Client, consumer
from edgewise.lag import GroupOffsets, PartitionLag
from tests.contract.test_kafka_clients import filled, new_topic
from tests.real import eventually

pytestmark = pytest.mark.brokers

ANSWER_S: Final = 60.0


@pytest.fixture
def topic(kafka: Broker) -> str:
    name = new_topic(kafka.address)
    filled(kafka.address, name, 100)
    return name


@pytest.fixture
def group() -> str:
    return f"group-{uuid4().hex[:12]}"


@pytest.fixture
def offsets(kafka: Broker, topic: str, group: str) -> Iterator[GroupOffsets]:
    with closing(GroupOffsets(kafka.address, group, topic=topic)) as opened:
        yield opened


def as_kafka_shows(address: str, topic: str, group: str) -> dict[int, int]:
    """Ask as Kafka's own tools do."""
    with closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        shown = admin.list_group_offsets([group])[group]
    return {place.partition: said.offset for place, said in shown.items() if place.topic == topic}


def test_a_group_that_nobody_knows_has_committed_nothing_and_knows_no_lag(kafka: Broker, topic: str) -> None:
    found = lag.of(kafka.address, "nobody", topic=topic)
    assert [one.partition for one in found] == [0, 1, 2, 3]
    assert {one.committed for one in found} == {one.lag for one in found} == {None}
    assert sum(one.end for one in found) == 100
    assert lag.total(found) is None


def test_what_is_committed_is_seen_by_the_probe_and_by_kafkas_own_view(
    kafka: Broker, topic: str, group: str, offsets: GroupOffsets
) -> None:
    ends = {one.partition: one.end for one in lag.of(kafka.address, group, topic=topic)}
    offsets.commit({0: 3, 1: ends[1], 2: 0})
    assert as_kafka_shows(kafka.address, topic, group) == {0: 3, 1: ends[1], 2: 0}
    assert lag.of(kafka.address, group, topic=topic) == [
        PartitionLag(0, committed=3, end=ends[0]),
        PartitionLag(1, committed=ends[1], end=ends[1]),
        PartitionLag(2, committed=0, end=ends[2]),
        PartitionLag(3, committed=None, end=ends[3]),
    ]
    offsets.commit({})
    offsets.commit({0: 5, 3: ends[3]})
    assert as_kafka_shows(kafka.address, topic, group) == {0: 5, 1: ends[1], 2: 0, 3: ends[3]}
    found = lag.of(kafka.address, group, topic=topic)
    assert lag.total(found) == ends[0] - 5 + ends[2]


@pytest.mark.parametrize("client", [Client.CONFLUENT, Client.PYTHON])
def test_a_group_that_was_joined_is_looked_at_in_the_same_way_and_not_disturbed(
    kafka: Broker, topic: str, group: str, client: Client
) -> None:
    with closing(consumer(kafka.address, topics=[topic], group=group, client=client)) as member:
        taken = eventually(lambda: member.take(limit=1000, wait_s=0.2), within_s=ANSWER_S)
        following = {(topic, one.partition): one.offset + 1 for one in taken}
        member.commit(following)

        def committed() -> bool:
            member.take(limit=1, wait_s=0)  # whatever else came, it is not this test's
            shown = {one.partition: one.committed for one in lag.of(kafka.address, group, topic=topic)}
            return all(shown[partition] == offset for (_, partition), offset in following.items())

        eventually(committed, within_s=ANSWER_S)


def test_offsets_from_outside_go_to_no_group_that_has_members(
    kafka: Broker, topic: str, group: str, offsets: GroupOffsets
) -> None:
    member = consumer(kafka.address, topics=[topic], group=group, client=Client.CONFLUENT)
    eventually(lambda: member.take(limit=1000, wait_s=0.2), within_s=ANSWER_S)
    with pytest.raises(ConfigError) as caught:
        offsets.commit({0: 1})
    assert str(caught.value) == (
        f"the Kafka group {group!r} has members, and offsets from outside are refused; "
        "end the program that joined it, or use another group"
    )
    member.close()
    offsets.commit({0: 1})
    assert as_kafka_shows(kafka.address, topic, group)[0] == 1


def test_threads_take_turns(kafka: Broker, topic: str, group: str, offsets: GroupOffsets) -> None:
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: offsets.commit({number % 4: 2}), range(40)))
    assert as_kafka_shows(kafka.address, topic, group) == dict.fromkeys(range(4), 2)


def test_a_topic_or_partition_that_is_not_there_is_named(kafka: Broker, topic: str, group: str) -> None:
    with pytest.raises(MissingError, match="has no topic 'nowhere'"):
        lag.of(kafka.address, group, topic="nowhere")
    for name, partition in (("nowhere", 0), (topic, 9)):
        with closing(GroupOffsets(kafka.address, group, topic=name)) as wrong, pytest.raises(MissingError):
            wrong.commit({partition: 1}, within_s=0.5)


def test_commits_outlive_a_kafka_that_is_away(tmp_path: Path, group: str) -> None:
    broker = embedded_kafka(tmp_path)
    broker.start()
    try:
        topic = new_topic(broker.address)
        with closing(GroupOffsets(broker.address, group, topic=topic)) as offsets:
            # The first commit that a Kafka ever sees waits until it has found who keeps the groups.
            offsets.commit({0: 0}, within_s=ANSWER_S)
            broker.stop()
            deadline = Deadline(SystemClock(), within_s=10)
            with pytest.raises(UnreachableError) as caught:
                offsets.commit({0: 0}, within_s=1)
            assert caught.value.retriable
            assert str(caught.value).startswith(f"Kafka does not answer at {broker.address}; it has not taken ")
            assert not deadline.passed()
            broker.start()
            offsets.commit({1: 0}, within_s=ANSWER_S)
            assert as_kafka_shows(broker.address, topic, group) == {0: 0, 1: 0}
    finally:
        broker.stop()


def test_a_kafka_that_is_not_there_is_named() -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    with pytest.raises(UnreachableError) as caught:
        lag.of(nowhere, "cluster")
    assert str(caught.value) == f"Kafka does not answer at {nowhere}; start it with: edgewise up"


# --- the command --------------------------------------------------------------------------------

LAG: Final = (sys.executable, "-m", "edgewise", "lag")


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LAG, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_the_command_shows_both_tiers_and_what_has_no_group(kafka: Broker, group: str) -> None:
    topics.ensure(kafka.address)
    with closing(GroupOffsets(kafka.address, group)) as offsets:
        offsets.commit({0: 0}, within_s=ANSWER_S)
    found = said("--kafka", kafka.address, "--group", "nobody", "--group", group)
    assert (found.returncode, found.stderr) == (0, "")
    assert "nobody has committed nothing" in found.stdout
    assert f"{group} has committed nothing" not in found.stdout
    both = json.loads(said("--kafka", kafka.address, "--format", "json").stdout)
    assert list(both["groups"]) == ["gateway", "cluster"]
    assert len(both["groups"]["cluster"]["partitions"]) == topics.PARTITIONS


def test_the_command_looks_again_until_ctrl_c(kafka: Broker, tmp_path: Path) -> None:
    topics.ensure(kafka.address)
    command = [*LAG, "--kafka", kafka.address, "--watch-s", "0.1", "--format", "json"]
    child = processes.start(command, name="the probe", log=tmp_path / "log")
    try:
        lines = eventually(
            lambda: found if len(found := child.log.read_text().splitlines()) > 3 else [], within_s=ANSWER_S
        )
        child.send(signal.SIGINT)
        assert child.wait(within_s=ANSWER_S) == 130
    finally:
        child.kill()
    moments = [json.loads(line)["at_ns"] for line in lines[:3]]
    assert moments == sorted(moments)
    assert "Traceback" not in child.log.read_text()


def test_the_command_ends_with_3_where_nobody_answers() -> None:
    found = said("--kafka", f"127.0.0.1:{addresses.free_port()}")
    assert (found.returncode, found.stdout, found.stderr.count("\n")) == (3, "", 1)
    assert found.stderr.startswith("edgewise: Kafka does not answer at ")


def test_the_command_ends_with_3_where_the_topic_is_not(tmp_path: Path) -> None:
    broker = embedded_kafka(tmp_path)
    broker.start()
    try:
        found = said("--kafka", broker.address)
    finally:
        broker.stop()
    assert (found.returncode, found.stdout) == (3, "")
    assert found.stderr == (
        f"edgewise: Kafka at {broker.address} has no topic 'frames'; a part makes it when it starts: edgewise bridge\n"
    )


def test_a_place_is_named_by_its_topic_too(kafka: Broker, topic: str, group: str, offsets: GroupOffsets) -> None:
    offsets.commit({0: 4})
    with closing(KafkaAdminClient(bootstrap_servers=kafka.address)) as admin:
        assert list(admin.list_group_offsets([group])[group]) == [TopicPartition(topic, 0)]
