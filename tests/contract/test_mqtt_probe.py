"""The doctor's questions to a foreign MQTT broker: what it finds, and that it leaves nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers.broker import Broker
from brokers.mqtt import mosquitto
from brokers.mqtt.answer import answers
from compare.doctor import doctor
from compare.doctor.mqtt_probe import probe_mqtt
from compare.doctor.mqtt_session import Session
from edgewise import addresses, processes
from edgewise.errors import ConfigError, UnreachableError
from tests.real import eventually

pytestmark = [pytest.mark.brokers]

CAREFUL_EDITION = """\
listener {port} 127.0.0.1
allow_anonymous true
max_packet_size 100000
retain_available false
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[str]:
    """Give a mosquitto with its own defaults where it matters: it drops what it confirmed."""
    port, settings = addresses.free_port(), tmp_path / "foreign.conf"
    settings.write_text(CAREFUL_EDITION.format(port=port))
    program = mosquitto.program()
    assert program is not None, "install it with: apt-get install mosquitto"
    child = processes.start([program, "-c", str(settings)], name="foreign", log=tmp_path / "foreign.log")
    eventually(lambda: answers(port), within_s=10)
    yield f"127.0.0.1:{port}"
    child.kill()


def test_our_own_broker_is_in_order_and_left_clean(mqtt: Broker) -> None:
    checks = probe_mqtt(mqtt.address)
    assert [(check.name, check.found) for check in checks if check.state != "ok"] == []
    with Session(addresses.parse(mqtt.address, option="--mqtt"), client_id="after-the-doctor") as session:
        session.subscribe("#")
        assert [message.topic for message in session.take(1, within_s=0.5) if "doctor" in message.topic] == []


def test_the_dangers_of_a_foreign_one_are_found(foreign: str) -> None:
    checks = {check.name: check for check in probe_mqtt(foreign)}
    large = checks["frames of 1,000,000 bytes"]
    assert large.state == "missing"
    assert large.found == "packets up to 100000 bytes, 0 of 1000000 bytes came back"
    queue = checks["keeps what it confirmed for a session that is away"]
    assert queue.state == "missing"
    assert queue.found == "session kept; 1000 messages came of 1500 confirmed of 1500 sent"
    assert checks["last will, retained"].state == "missing"
    assert doctor.exit_code(list(checks.values())) == 3


def test_where_nobody_answers_it_says_so() -> None:
    port = addresses.free_port()
    with pytest.raises(UnreachableError) as error:
        probe_mqtt(f"127.0.0.1:{port}")
    assert str(error.value) == f"MQTT broker does not answer at 127.0.0.1:{port}; start one with: edgewise up"


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(ConfigError):
        probe_mqtt("localhost")
