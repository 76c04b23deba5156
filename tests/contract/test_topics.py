"""The topics are made once, as they are stated, and a frame of the largest size passes."""

from dataclasses import replace
from typing import Final
from uuid import uuid4

import pytest
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from brokers.broker import Broker
from edgewise import addresses, topics
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import Client, consumer, producer
from edgewise.messages import FRAME_MAX_BYTES, encode_frame
from edgewise.topics import FRAMES, PARTITIONS, REJECTED, RESULTS, RUNS, plan
from tests.fakes import FRAME
from tests.real import eventually

pytestmark = pytest.mark.brokers

NAMES: Final = [FRAMES, RESULTS, REJECTED, RUNS]


def partitions(address: str) -> dict[str, int]:
    admin = KafkaAdminClient(bootstrap_servers=address)
    found = {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics(NAMES)}
    admin.close()
    return found


@pytest.fixture
def made(kafka: Broker) -> str:
    """Give the address of a Kafka that has the topics."""
    topics.ensure(kafka.address)
    return kafka.address


def test_the_topics_have_the_partitions_that_were_stated(made: str) -> None:
    assert partitions(made) == {FRAMES: PARTITIONS, RESULTS: PARTITIONS, REJECTED: 1, RUNS: 1}


def test_making_them_again_changes_nothing(made: str) -> None:
    before = partitions(made)
    topics.ensure(made)
    topics.ensure(made, partitions=9)
    assert partitions(made) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_topic_has_the_settings_that_were_stated(made: str, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=made)
    wanted = plan()[name].settings
    found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    admin.close()
    assert {key: setting["value"] for key, setting in found["topic"][name].items() if key in wanted} == dict(wanted)


def test_every_topic_is_stamped_by_kafka_and_only_the_account_is_compacted() -> None:
    stamps = {name: topic.settings.get("message.timestamp.type") for name, topic in plan().items()}
    assert stamps == dict.fromkeys(NAMES, "LogAppendTime")
    compacted = [name for name, topic in plan().items() if topic.settings.get("cleanup.policy") == "compact"]
    assert compacted == [RUNS]


def test_the_number_of_partitions_is_a_setting_for_frames_and_results_only() -> None:
    assert {name: topic.partitions for name, topic in plan(partitions=9).items()} == {
        FRAMES: 9,
        RESULTS: 9,
        REJECTED: 1,
        RUNS: 1,
    }


@pytest.mark.parametrize("name", [FRAMES, REJECTED])
@pytest.mark.parametrize("client", [Client.CONFLUENT, Client.PYTHON])
def test_a_frame_of_exactly_the_largest_size_passes(made: str, name: str, client: Client) -> None:
    overhead = len(encode_frame(replace(FRAME, payload=bytes(900_000)))) - 900_000
    mark = uuid4().bytes
    payload = (mark * FRAME_MAX_BYTES)[: FRAME_MAX_BYTES - overhead]
    wire = encode_frame(replace(FRAME, payload=payload))
    assert len(wire) == FRAME_MAX_BYTES
    reader = consumer(made, topics=[name], client=client, from_end=True)
    writer = producer(made, client=client)
    writer.send(name, key="c" * 64, value=wire, receipt=8, headers=[("bridged_ns", b"1763000000125000001")])
    assert list(writer.close(within_s=20)) == [8]
    records = eventually(lambda: reader.take(limit=10, wait_s=0.2), within_s=20)
    reader.close()
    assert [record.value == wire for record in records] == [True]


def test_a_kafka_that_is_not_there_is_named_with_the_command_that_helps() -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    deadline = Deadline(SystemClock(), within_s=15)
    with pytest.raises(UnreachableError) as caught:
        topics.ensure(nowhere)
    assert str(caught.value) == f"Kafka does not answer at {nowhere}; start it with: edgewise up"
    assert not deadline.passed()


def test_growth_counts_what_came_since_and_reads_nothing(made: str) -> None:
    with topics.growth(made, [FRAMES, RESULTS]) as grown:
        before = grown()
        writer = producer(made)
        for number in range(70):
            writer.send(FRAMES, key=f"k{number}", value=b"x", receipt=number)
        writer.close(within_s=20)
        found = grown()
    assert found[FRAMES] - before[FRAMES] >= 70, "other tests may write, too"
    assert set(found) == {FRAMES, RESULTS}
