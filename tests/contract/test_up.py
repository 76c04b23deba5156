"""``edgewise up`` as a process of its own: ports, endings, and that nothing stays behind."""

import contextlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers.kafka.answer import answers as kafka_answers
from brokers.mqtt.answer import answers as mqtt_answers
from brokers.up import up
from edgewise import addresses, processes
from edgewise.errors import ConfigError
from tests.real import eventually

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(180)]

START_WITHIN_S = 90
STOP_WITHIN_S = 60


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep temporary folders where the test can count them; the cache stays, for its jars."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


@pytest.fixture
def command(tmp_path: Path) -> Iterator[processes.Child]:
    """Give a running ``edgewise up`` on free ports that has printed its addresses."""
    ports = f"mqtt_port={addresses.free_port()}, kafka_port={addresses.free_port()}"
    code = f"from brokers.up import run_up; raise SystemExit(run_up({ports}))"
    child = processes.start([sys.executable, "-c", code], name="edgewise up", log=tmp_path / "up.log")
    eventually(lambda: printed(child) or not child.running(), within_s=START_WITHIN_S)
    assert child.running(), child.tail()
    yield child
    child.kill()


def printed(child: processes.Child) -> dict[str, int]:
    """Read the ports from its output; empty until both stand there."""
    found = re.findall(r"^(mqtt|kafka) +127\.0\.0\.1:(\d+)$", child.log.read_text(), re.MULTILINE)
    return {name: int(port) for name, port in found} if len(found) == 2 else {}


def started_by(child: processes.Child) -> list[int]:
    """Find the processes whose parent it is."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == child.pid:
                found.append(int(stat.parent.name))
    return found


def gone(pids: list[int]) -> bool:
    return all(processes.birth(pid) is None for pid in pids)


def test_both_answer_as_soon_as_their_addresses_are_printed(command: processes.Child) -> None:
    ports = printed(command)
    assert mqtt_answers(ports["mqtt"])
    assert kafka_answers(ports["kafka"])


def test_other_commands_find_them_while_it_runs(command: processes.Child) -> None:
    ports = printed(command)
    eventually(lambda: addresses.remembered().get("mqtt") == f"127.0.0.1:{ports['mqtt']}", within_s=5)
    assert addresses.kafka_address(None) == f"127.0.0.1:{ports['kafka']}"
    command.kill()
    assert addresses.remembered().get("mqtt") != f"127.0.0.1:{ports['mqtt']}"


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_it_ends_cleanly_and_leaves_nothing(
    command: processes.Child, temporary: Path, how: signal.Signals, code: int
) -> None:
    brokers = started_by(command)
    assert len(brokers) == 2
    command.send(how)
    assert command.wait(within_s=STOP_WITHIN_S) == code
    assert gone(brokers)
    assert list(temporary.glob("edgewise-*")) == []


def test_a_second_ctrl_c_does_not_disturb_the_stopping(command: processes.Child, temporary: Path) -> None:
    command.send(signal.SIGINT)
    eventually(lambda: len(started_by(command)) < 2, within_s=STOP_WITHIN_S, look_again_s=0.001)
    command.send(signal.SIGINT)
    assert command.wait(within_s=STOP_WITHIN_S) == 130
    assert list(temporary.glob("edgewise-*")) == []


def test_killed_it_takes_both_brokers_with_it(command: processes.Child) -> None:
    brokers = started_by(command)
    assert len(brokers) == 2
    os.kill(command.pid, signal.SIGKILL)
    eventually(lambda: gone(brokers), within_s=5)


def test_a_broker_that_dies_is_named_and_ends_it(command: processes.Child) -> None:
    kafka = next(pid for pid in started_by(command) if "java" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(kafka, signal.SIGKILL)
    assert command.wait(within_s=STOP_WITHIN_S) == 1
    assert f"Apache Kafka does not answer at 127.0.0.1:{printed(command)['kafka']}; it ended by itself" in (
        command.log.read_text()
    )


@pytest.mark.parametrize("option", ["--mqtt-port", "--kafka-port"])
def test_a_busy_port_is_refused_by_the_name_of_its_option(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        chosen = {option.removeprefix("--").replace("-", "_"): port}
        with pytest.raises(ConfigError) as error, up(**chosen):
            pass
    assert str(error.value) == f"{option} {port}: another program listens there; give another port, or none"


def test_without_ports_the_usual_ones_are_used_or_others_are_stated(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.ExitStack() as held:
        for port in (addresses.MQTT_PORT, addresses.KAFKA_PORT):
            if addresses.is_free(port):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
        with up() as brokers:
            said = capsys.readouterr().err
            assert f"port 1883 is taken by another program; using {brokers.mqtt.port} " in said
            assert f"port 9092 is taken by another program; using {brokers.kafka.port} " in said


def test_a_given_folder_keeps_everything(tmp_path: Path) -> None:
    clusters = []
    for _ in range(2):
        with up(mqtt_port=addresses.free_port(), kafka_port=addresses.free_port(), data=tmp_path / "data") as brokers:
            clusters.append((brokers.kafka.data / "topics" / "meta.properties").read_text())
            assert brokers.mqtt.data == tmp_path / "data" / "mqtt"
    assert clusters[0] == clusters[1]


def test_what_ends_it_before_there_are_brokers_leaves_no_folder(
    temporary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    mqtt, kafka = addresses.free_port(), addresses.free_port()
    with (
        pytest.raises(ConfigError, match="HiveMQ"),
        up(mqtt_port=mqtt, kafka_port=kafka, mqtt_broker="hivemq", secured=tmp_path),
    ):
        pytest.fail("HiveMQ knows no users")
    assert list(temporary.iterdir()) == []
