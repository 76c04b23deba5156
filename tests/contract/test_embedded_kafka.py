"""What the embedded Kafka keeps, over clean stops and kill -9."""

import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from edgewise.errors import ConfigError, UnreachableError

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(180)]

RECORDS = 300


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = embedded_kafka(tmp_path / "data")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def topic() -> str:
    return f"frames-{secrets.token_hex(6)}"


def make(broker: Broker, topic: str) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])


def write(broker: Broker, topic: str, *, records: int = RECORDS, size_bytes: int = 3_200) -> None:
    """Return when Kafka has acknowledged them all."""
    with closing(KafkaProducer(bootstrap_servers=broker.address, acks="all", max_request_size=2_000_000)) as producer:
        sent = [producer.send(topic, number.to_bytes(4, "big") + bytes(size_bytes)) for number in range(records)]
        producer.flush()
        for future in sent:
            future.get(timeout=30)


def read(broker: Broker, topic: str, *, records: int) -> list[int]:
    partition = TopicPartition(topic, 0)
    found: list[int] = []
    with closing(KafkaConsumer(bootstrap_servers=broker.address, consumer_timeout_ms=20_000)) as consumer:
        consumer.assign([partition])
        consumer.seek_to_beginning(partition)
        for record in consumer:
            found.append(int.from_bytes(record.value[:4], "big"))
            if len(found) == records:
                break
    return found


def test_it_answers_on_the_loopback_on_its_own_port(kafka: Broker) -> None:
    assert kafka.address == f"127.0.0.1:{kafka.port}"
    with closing(KafkaAdminClient(bootstrap_servers=kafka.address)) as admin:
        nodes = admin.describe_cluster()["brokers"]
    assert [(node["host"], node["port"]) for node in nodes] == [("127.0.0.1", kafka.port)]


def test_a_topic_is_never_made_by_accident(kafka: Broker, topic: str) -> None:
    with closing(KafkaConsumer(bootstrap_servers=kafka.address)) as consumer:
        assert not consumer.partitions_for_topic(topic)
        assert topic not in consumer.topics()


def test_a_frame_of_a_million_bytes_passes(kafka: Broker, topic: str) -> None:
    make(kafka, topic)
    write(kafka, topic, records=1, size_bytes=1_000_000)
    assert read(kafka, topic, records=1) == [0]


def test_a_clean_stop_keeps_everything_on_the_same_port(broker: Broker, topic: str) -> None:
    make(broker, topic)
    write(broker, topic)
    address = broker.address
    broker.stop()
    assert broker.pid is None
    broker.start()
    assert broker.address == address
    assert read(broker, topic, records=RECORDS) == list(range(RECORDS))


def test_a_kill_keeps_everything_that_was_acknowledged(broker: Broker, topic: str) -> None:
    make(broker, topic)
    for _ in range(2):
        write(broker, topic)
        broker.kill()
        broker.start()
    assert read(broker, topic, records=2 * RECORDS) == list(range(RECORDS)) * 2


def test_two_brokers_are_two_clusters(kafka: Broker, broker: Broker) -> None:
    ids = []
    for each in (kafka, broker):
        with closing(KafkaAdminClient(bootstrap_servers=each.address)) as admin:
            ids.append(admin.describe_cluster()["cluster_id"])
    assert ids[0] != ids[1]


def test_start_leaves_a_running_one_alone(kafka: Broker) -> None:
    before = kafka.pid
    kafka.start()
    assert kafka.pid == before


def test_a_busy_port_is_refused_before_anything_starts(kafka: Broker, tmp_path: Path) -> None:
    second = embedded_kafka(tmp_path, port=kafka.port)
    with pytest.raises(ConfigError) as error:
        second.start()
    assert str(error.value) == (
        f"Apache Kafka cannot have port {kafka.port}: another program listens there; give another"
    )


def test_a_start_that_fails_shows_the_last_words_and_leaves_nothing(tmp_path: Path) -> None:
    broker = embedded_kafka(tmp_path)
    (tmp_path / "topics").mkdir()
    (tmp_path / "topics" / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=x\n")
    with pytest.raises(UnreachableError) as error:
        broker.start()
    message = str(error.value)
    assert message.startswith(f"Apache Kafka does not answer at {broker.address}; it ended; the end of {broker.log}:\n")
    assert "node" in message.rpartition("broker.log:")[2]
    assert broker.pid is None
