"""Fixtures that start the real thing once for all tests."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise.clock import SystemClock
from edgewise.log import SPEAKER, Repeats

FIND_BROKERS: Final = {"test_up", "test_readme", "test_mistakes"}
"""Their commands find brokers by the note of ``edgewise up``: at the same time they would find one another's."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # it ships no types
    """Lets the tests of one file share a process, its brokers and its Spark."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "find brokers" if Path(file).stem in FIND_BROKERS else file


def pytest_configure() -> None:
    """Hear Ctrl-C: whoever starts the tests with & in a script has them, and all that they start, deaf to it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByFile:
    """Divide the tests among processes, where there are several."""
    return ByFile(config, log)


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count repeats of what is said from here on: a test is not to hear how often another one warned."""
    monkeypatch.setattr(SPEAKER, "_repeats", Repeats(clock=SystemClock()))


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
