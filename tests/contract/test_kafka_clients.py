"""What the parts may rely on, whichever of the two libraries talks to Kafka."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from edgewise import addresses, topics
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import Client, Consumer, Producer, Record, consumer, looker, producer, settled
from edgewise.topics import FRAMES, RESULTS, RUNS
from tests.real import eventually

pytestmark = pytest.mark.brokers

CLIENTS: Final = [Client.CONFLUENT, Client.PYTHON]
MOMENT_NS: Final = 1_700_000_000 * 1_000_000_000
CLOSE_S: Final = 20.0
ANSWER_S: Final = 60.0
KEYS: Final = [f"camera-{index}" for index in range(200)]


def new_topic(address: str, *, partitions: int = 4) -> str:
    """Make a topic that no other test uses."""
    name = f"test-{uuid4().hex[:12]}"
    admin = KafkaAdminClient(bootstrap_servers=address)
    stamped = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(topics.RECORD_MAX_BYTES)}
    admin.create_topics([NewTopic(name, partitions, -1, topic_configs=stamped)])
    admin.close()
    return name


@pytest.fixture
def topic(kafka: Broker) -> str:
    return new_topic(kafka.address)


@contextmanager
def reading(
    address: str, topic: str, client: Client, *, group: str | None = None, end: bool = False
) -> Iterator[Consumer]:
    """Open a consumer for a while."""
    reader = consumer(address, topics=[topic], group=group, client=client, from_end=end)
    yield reader
    reader.close()


def took(reader: Consumer, count: int, *, limit: int = 1000) -> list[Record]:
    """Take until so many records are there, and show that no more follow."""
    found: list[Record] = []

    def enough() -> bool:
        found.extend(reader.take(limit=limit, wait_s=0.2))
        return len(found) >= count

    eventually(enough, within_s=ANSWER_S)
    found.extend(reader.take(limit=limit, wait_s=0.3))
    return found


def safe(writer: Producer, count: int) -> list[int]:
    """Wait until so many receipts were given."""
    found: list[int] = []

    def enough() -> bool:
        found.extend(writer.stored(wait_s=0.2))
        return len(found) >= count

    eventually(enough, within_s=ANSWER_S)
    return found


def filled(address: str, topic: str, count: int, *, first: int = 0) -> None:
    """Store so many records, each with its number as value."""
    writer = producer(address, client=Client.CONFLUENT)
    for number in range(first, first + count):
        writer.send(topic, key=f"k{number % 16}", value=b"%d" % number, receipt=number)
    assert len(writer.close(within_s=CLOSE_S)) == count


def numbers(records: Sequence[Record]) -> list[int]:
    return sorted(int(record.value) for record in records)


OPEN: Final[dict[str, Callable[[str, Client], Producer | Consumer]]] = {
    "producer": lambda address, client: producer(address, client=client),
    "consumer": lambda address, client: consumer(address, topics=[FRAMES], client=client),
    "group": lambda address, client: consumer(address, topics=[FRAMES], group="group", client=client),
}


@pytest.mark.parametrize("client", CLIENTS)
class TestClient:
    """The contract of ``edgewise.kafka``; both clients are held to every case."""

    def test_a_record_is_read_back_as_it_was_stored(self, kafka: Broker, topic: str, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        headers = [("bridged_ns", b"17"), ("empty", b""), ("bytes", bytes(range(256)))]
        before_ns = SystemClock().now_ns()
        writer.send(topic, key="camera-7", value=bytes(range(256)) * 4, receipt=3, headers=headers)
        assert list(writer.close(within_s=CLOSE_S)) == [3]
        after_ns = SystemClock().now_ns()
        with reading(kafka.address, topic, client) as reader:
            (record,) = took(reader, 1)
        assert (record.topic, record.offset, record.key) == (topic, 0, "camera-7")
        assert record.value == bytes(range(256)) * 4
        assert list(record.headers) == headers
        assert record.appended_ns % 1_000_000 == 0
        assert before_ns - 1_000_000 <= record.appended_ns <= after_ns

    def test_the_stamp_is_kafkas_own_also_for_what_the_other_client_stored(
        self, kafka: Broker, topic: str, client: Client
    ) -> None:
        filled(kafka.address, topic, 5)
        with reading(kafka.address, topic, client) as reader:
            assert all(record.appended_ns > MOMENT_NS for record in took(reader, 5))

    def test_what_cannot_be_stored_is_said_after_what_was(self, kafka: Broker, topic: str, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        writer.send(topic, key="k", value=b"small", receipt=1)
        stored = list(eventually(writer.stored, within_s=CLOSE_S))
        writer.send(topic, key="k", value=bytes(4 << 20), receipt=2)
        with pytest.raises(UnreachableError, match="a record was not stored"):
            eventually(lambda: writer.stored(wait_s=0.1), within_s=CLOSE_S)
        writer.abandon()
        assert stored == [1]

    def test_a_looker_goes_on_from_the_end_and_says_what_it_passed_over(
        self, kafka: Broker, topic: str, client: Client
    ) -> None:
        reader = looker(kafka.address, topics=[topic], client=client, from_end=True)
        filled(kafka.address, topic, 40)
        before = took(reader, 40, limit=10)
        filled(kafka.address, topic, 60, first=40)
        few = eventually(lambda: reader.take(limit=10, wait_s=0.2), within_s=ANSWER_S)
        assert (numbers(before), len(few) + reader.skip(), reader.lag()) == (list(range(40)), 60, 0)
        filled(kafka.address, topic, 5, first=100)
        assert numbers(took(reader, 5)) == list(range(100, 105))
        reader.close()

    def test_an_empty_value_is_a_value(self, kafka: Broker, topic: str, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        writer.send(topic, key="", value=b"", receipt=0)
        writer.close(within_s=CLOSE_S)
        with reading(kafka.address, topic, client) as reader:
            (record,) = took(reader, 1)
        assert (record.key, record.value, list(record.headers)) == ("", b"", [])

    def test_each_receipt_is_reported_once_and_only_when_kafka_has_it(
        self, kafka: Broker, topic: str, client: Client
    ) -> None:
        writer = producer(kafka.address, client=client)
        receipts = list(range(100, 2100))
        reported: list[int] = []
        for receipt in receipts:
            writer.send(topic, key=f"k{receipt % 16}", value=b"%d" % receipt, receipt=receipt)
            reported += writer.stored()
        reported += safe(writer, len(receipts) - len(reported))
        assert sorted(reported) == receipts
        assert not writer.stored(wait_s=0.1)
        with reading(kafka.address, topic, client) as reader:
            assert numbers(took(reader, len(receipts))) == receipts
        assert not writer.close(within_s=CLOSE_S)

    def test_nothing_is_reported_before_anything_was_sent(self, kafka: Broker, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        assert not writer.stored(wait_s=0.1)
        assert not writer.close(within_s=CLOSE_S)

    def test_closing_gives_the_receipts_of_what_was_under_way(self, kafka: Broker, topic: str, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        for receipt in range(500):
            writer.send(topic, key="k", value=bytes(1000), receipt=receipt)
        assert list(writer.close(within_s=CLOSE_S)) == list(range(500))

    def test_a_key_keeps_its_order(self, kafka: Broker, topic: str, client: Client) -> None:
        writer = producer(kafka.address, client=client)
        for number in range(3000):
            writer.send(topic, key=f"k{number % 3}", value=b"%d" % number, receipt=number)
        writer.close(within_s=CLOSE_S)
        with reading(kafka.address, topic, client) as reader:
            records = took(reader, 3000)
        for key in ("k0", "k1", "k2"):
            of_key = [int(record.value) for record in records if record.key == key]
            assert of_key == sorted(of_key)
            assert len(of_key) == 1000

    def test_take_gives_at_most_as_many_as_asked(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 50)
        with reading(kafka.address, topic, client) as reader:
            sizes = [len(reader.take(limit=7, wait_s=0.2)) for _ in range(30)]
        assert max(sizes) <= 7
        assert sum(sizes) == 50

    def test_take_waits_for_the_first_record_and_no_longer_than_told(
        self, kafka: Broker, topic: str, client: Client
    ) -> None:
        clock = SystemClock()
        with reading(kafka.address, topic, client) as reader:
            began_ns = clock.ticks_ns()
            assert not reader.take(limit=10, wait_s=0.5)
            assert 0.4e9 < clock.ticks_ns() - began_ns < 5e9

    def test_without_a_group_a_reader_begins_at_the_beginning(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 40)
        for _ in range(2):
            with reading(kafka.address, topic, client) as reader:
                assert numbers(took(reader, 40)) == list(range(40))

    def test_without_a_group_a_reader_may_begin_at_the_end(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 40)
        with reading(kafka.address, topic, client, end=True) as reader:
            filled(kafka.address, topic, 40, first=1000)  # before the reader asked for anything
            assert numbers(took(reader, 40)) == list(range(1000, 1040))

    def test_a_group_goes_on_from_what_it_committed(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 100)
        group = f"group-{uuid4().hex[:8]}"
        done: list[Record] = []
        with reading(kafka.address, topic, client, group=group) as reader:
            records = took(reader, 100)
            done = [record for record in records if record.offset < 5]
            reader.commit({(topic, record.partition): record.offset + 1 for record in done})
        with reading(kafka.address, topic, client, group=group) as reader:
            rest = took(reader, 100 - len(done))
        assert numbers([*done, *rest]) == list(range(100))

    def test_a_group_that_committed_nothing_begins_again(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 20)
        group = f"group-{uuid4().hex[:8]}"
        for _ in range(2):
            with reading(kafka.address, topic, client, group=group) as reader:
                reader.commit({})
                assert numbers(took(reader, 20)) == list(range(20))

    def test_a_group_is_joined_however_short_each_take_waits(self, kafka: Broker, topic: str, client: Client) -> None:
        # Kafka's answer to the join then comes between two takes, or as one of them ends.
        filled(kafka.address, topic, 20)
        found: list[Record] = []

        def all_there() -> bool:
            found.extend(reader.take(limit=1000, wait_s=0.001))
            return len(found) >= 20

        with reading(kafka.address, topic, client, group=f"group-{uuid4().hex[:8]}") as reader:
            eventually(all_there, within_s=ANSWER_S)
        assert numbers(found) == list(range(20))

    def test_lag_counts_what_was_not_yet_taken(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 60)
        with reading(kafka.address, topic, client) as reader:
            eventually(lambda: reader.lag() == 60, within_s=ANSWER_S)
            first = reader.take(limit=10, wait_s=ANSWER_S)
            eventually(lambda: reader.lag() == 60 - len(first), within_s=ANSWER_S)
            took(reader, 60 - len(first))
            eventually(lambda: reader.lag() == 0, within_s=ANSWER_S)
            filled(kafka.address, topic, 5)
            eventually(lambda: reader.lag() == 5, within_s=ANSWER_S)

    def test_the_lag_of_a_group_counts_from_what_it_committed(self, kafka: Broker, topic: str, client: Client) -> None:
        filled(kafka.address, topic, 80)
        group = f"group-{uuid4().hex[:8]}"
        with reading(kafka.address, topic, client, group=group) as reader:
            records = took(reader, 80)
            reader.commit({(topic, record.partition): record.offset + 1 for record in records})
        with reading(kafka.address, topic, client, group=group) as reader:
            assert not reader.take(limit=10, wait_s=5)  # joined; nothing is left for it
            eventually(lambda: reader.lag() == 0, within_s=ANSWER_S)
            filled(kafka.address, topic, 3)
            eventually(lambda: reader.lag() == 3, within_s=ANSWER_S)

    def test_the_lag_of_a_reader_from_the_end_counts_what_came_since(
        self, kafka: Broker, topic: str, client: Client
    ) -> None:
        filled(kafka.address, topic, 30)
        with reading(kafka.address, topic, client, end=True) as reader:
            assert not reader.take(limit=10, wait_s=0.5)
            assert reader.lag() == 0
            filled(kafka.address, topic, 4)
            eventually(lambda: reader.lag() == 4, within_s=ANSWER_S)


@pytest.mark.parametrize("part", list(OPEN))
def test_an_address_where_nobody_answers_is_named_with_the_command_that_helps(part: str) -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    deadline = Deadline(SystemClock(), within_s=15)
    with ThreadPoolExecutor() as threads:  # each client takes its ten seconds, both at once
        tries = [threads.submit(OPEN[part], nowhere, client) for client in CLIENTS]
    expected = f"Kafka does not answer at {nowhere}; start it with: edgewise up"
    assert [(type(one.exception()), str(one.exception())) for one in tries] == [(UnreachableError, expected)] * 2
    assert not deadline.passed()


def refused(address: str, client: Client) -> str:
    """Send to a topic that is not there until the producer says so."""
    writer = producer(address, client=client)

    def said() -> str:
        try:
            writer.send("never-made", key="k", value=b"x", receipt=0)
            writer.stored(wait_s=1)
        except UnreachableError as error:
            return str(error)
        return ""

    return eventually(said, within_s=50)


def test_a_record_for_a_topic_that_is_not_there_fails_by_name(kafka: Broker) -> None:
    with ThreadPoolExecutor() as threads:
        for text in threads.map(refused, [kafka.address] * 2, CLIENTS):
            assert text.startswith(f"Kafka does not answer at {kafka.address}; a record was not stored: ")


def test_both_clients_put_a_key_on_the_same_partition(kafka: Broker) -> None:
    topic = new_topic(kafka.address, partitions=7)
    for client in CLIENTS:
        writer = producer(kafka.address, client=client)
        for key in [*KEYS, "kamera-ä", ""]:
            writer.send(topic, key=key, value=client.encode(), receipt=0)
        writer.close(within_s=CLOSE_S)
    with reading(kafka.address, topic, Client.CONFLUENT) as reader:
        records = took(reader, 2 * (len(KEYS) + 2))
    places: dict[str, set[int]] = {}
    for record in records:
        places.setdefault(record.key, set()).add(record.partition)
    assert {key: len(found) for key, found in places.items() if key and len(found) != 1} == {}
    assert set().union(*places.values()) == set(range(7))


def test_auto_is_the_fast_client_where_it_is_installed() -> None:
    assert settled(Client.AUTO) is Client.CONFLUENT
    assert settled(Client.PYTHON) is Client.PYTHON


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give a Kafka that may be killed: nobody else uses it."""
    broker = embedded_kafka(tmp_path_factory.mktemp("mortal-kafka"))
    broker.start()
    topics.ensure(broker.address)
    yield broker
    broker.stop()


class Sender:
    """Sends numbers to a topic as fast as it is let, and knows what was reported as stored."""

    def __init__(self, writer: Producer, topic: str) -> None:
        self._writer, self._topic = writer, topic
        self.sent = 0
        self.reported: list[int] = []

    def go_on(self, *, until: Callable[[], bool], within_s: float) -> None:
        """Send until the condition holds."""

        def turned() -> bool:
            for _ in range(50):
                key = f"k{self.sent % 16}"
                self._writer.send(self._topic, key=key, value=b"%d" % self.sent, receipt=self.sent)
                self.sent += 1
            self.reported += self._writer.stored(wait_s=0.01)
            return until()

        eventually(turned, within_s=within_s, look_again_s=0.01)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_kafka_that_is_killed_and_comes_back_loses_nothing_that_was_reported(mortal: Broker, client: Client) -> None:
    topic = {Client.CONFLUENT: FRAMES, Client.PYTHON: RESULTS}[client]
    sender = Sender(writer := producer(mortal.address, client=client), topic)
    sender.go_on(until=lambda: len(sender.reported) >= 500, within_s=ANSWER_S)
    mortal.kill()
    stop_at = sender.sent + 300
    sender.go_on(until=lambda: sender.sent >= stop_at, within_s=ANSWER_S)
    mortal.start()
    goal = len(sender.reported) + 1000
    sender.go_on(until=lambda: len(sender.reported) >= goal, within_s=90)
    sender.reported += writer.close(within_s=60)
    assert sorted(sender.reported) == list(range(sender.sent))
    with reading(mortal.address, topic, client) as reader:
        found = numbers(took(reader, sender.sent))
    assert found == list(range(sender.sent))  # idempotent: no duplicates either


@pytest.mark.timeout(240)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_consumer_goes_on_when_kafka_is_back(mortal: Broker, client: Client) -> None:
    topic = new_topic(mortal.address)
    filled(mortal.address, topic, 10)
    group = f"group-{uuid4().hex[:8]}"
    with reading(mortal.address, topic, client, group=group) as reader:
        assert numbers(took(reader, 10)) == list(range(10))
        mortal.kill()
        assert not reader.take(limit=10, wait_s=0.5)
        mortal.start()
        filled(mortal.address, topic, 10, first=10)
        found: set[int] = set()

        def enough() -> bool:
            found.update(numbers(reader.take(limit=100, wait_s=0.2)))
            return found >= set(range(10, 20))

        eventually(enough, within_s=90)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_producer_that_cannot_finish_says_so_when_it_is_closed(tmp_path: Path, client: Client) -> None:
    broker = embedded_kafka(tmp_path / "kafka")
    broker.start()
    topics.ensure(broker.address)
    writer = producer(broker.address, client=client)
    writer.send(RUNS, key="k", value=b"1", receipt=1)
    assert safe(writer, 1) == [1]
    broker.kill()
    writer.send(RUNS, key="k", value=b"2", receipt=2)
    with pytest.raises(UnreachableError) as caught:
        writer.close(within_s=1)
    assert broker.address in str(caught.value)
