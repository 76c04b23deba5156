import json
import os
import socket
from pathlib import Path

import pytest

from edgewise import addresses
from edgewise.errors import ConfigError


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEWISE_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("text", ["localhost", "localhost:", ":1883", "localhost:0", "localhost:65536", "localhost:x"])
def test_what_is_no_address_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(ConfigError, match="--mqtt must be HOST:PORT, not "):
        addresses.parse(text, option="--mqtt")


def test_an_address_is_read_and_written_alike() -> None:
    assert str(addresses.parse(" broker.example:1883", option="--mqtt")) == "broker.example:1883"


def test_what_is_given_wins_then_what_is_remembered_then_the_usual_port() -> None:
    assert addresses.kafka_address(None) == "localhost:9092"
    with addresses.remember(mqtt="127.0.0.1:2001", kafka="127.0.0.1:2002"):
        assert addresses.mqtt_address(None) == "127.0.0.1:2001"
        assert addresses.kafka_address(None) == "127.0.0.1:2002"
        assert addresses.mqtt_address("there:1") == "there:1"
    assert addresses.mqtt_address(None) == "localhost:1883"


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"birth": -1, "mqtt": "a:1", "kafka": "b:2"})])
def test_a_damaged_note_or_one_of_a_dead_process_is_passed_over(empty_cache: Path, content: str) -> None:
    (empty_cache / "up").mkdir()
    (empty_cache / "up" / f"{os.getpid()}.json").write_text(content)
    assert addresses.remembered() == {}


def test_a_port_with_a_listener_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not addresses.is_free(port)
    assert addresses.is_free(port)


def test_a_free_port_is_outside_the_range_of_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert addresses.FIRST_FREE_PORT <= addresses.free_port() < first
