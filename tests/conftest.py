"""Fixtures that start the real thing once for all tests."""

from collections.abc import Iterator

import pytest

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt


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
