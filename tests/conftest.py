"""Fixtures that start the real thing once for all tests."""

from collections.abc import Iterator
from typing import Final

import pytest

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt

FIND_BROKERS: Final = {"test_up", "test_readme", "test_mistakes"}
"""Their commands find brokers by the note of ``edgewise up``: at the same time they would find one another's."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of one file share a process, its brokers and its Spark, when there are several."""
    for item in items:
        name = "find brokers" if item.path.stem in FIND_BROKERS else item.path.stem
        item.add_marker(pytest.mark.xdist_group(name))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give a Kafka that answers. Tests share it: use topics and groups of your own."""
    broker = embedded_kafka(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def mqtt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Give an MQTT broker that answers. Tests share it: use topics and client ids of your own."""
    broker = embedded_mqtt(tmp_path_factory.mktemp("mqtt"))
    broker.start()
    yield broker
    broker.stop()
