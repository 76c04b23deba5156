"""Where the brokers are: reading ``host:port``, finding free ports, and the note that ``edgewise up`` leaves.

A command takes an address from, in this order: its option or environment variable,
the ``edgewise up`` that runs now, the usual port on this machine.
"""

import json
import os
import random
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.errors import ConfigError, MissingError
from edgewise.places import cache
from edgewise.processes import birth

LOOPBACK: Final = "127.0.0.1"
MQTT_PORT: Final = 1883
KAFKA_PORT: Final = 9092
PORT_MAX: Final = 65_535
FIRST_FREE_PORT: Final = 20_000
"""Below stand the usual ports of other people's programs."""
FREE_PORT_TRIES: Final = 200


@dataclass(frozen=True, slots=True)
class Address:
    """One end of a TCP connection."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as it is read."""
        return f"{self.host}:{self.port}"


def parse(text: str, *, option: str) -> Address:
    """Read ``host:port``.

    Raises:
        ConfigError: it is not one; the text names ``option``.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) <= PORT_MAX:
        usual = KAFKA_PORT if option == "--kafka" else MQTT_PORT
        raise ConfigError(f"{option} must be HOST:PORT, not {text!r}; for example {option} localhost:{usual}")
    return Address(host, int(port))


def mqtt_address(given: str | None) -> str:
    """Say where the MQTT broker is: as given, else the running ``edgewise up``'s, else the usual port here."""
    if given:
        return str(parse(given, option="--mqtt"))
    return remembered().get("mqtt") or f"localhost:{MQTT_PORT}"


def kafka_address(given: str | None) -> str:
    """Say where Kafka is: as given, else the running ``edgewise up``'s, else the usual port here."""
    if given:
        return str(parse(given, option="--kafka"))
    return remembered().get("kafka") or f"localhost:{KAFKA_PORT}"


def remembered() -> Mapping[str, str]:
    """Read the addresses (``mqtt``, ``kafka``) of the ``edgewise up`` that was started last and still runs."""
    newest_first = sorted(_notes().glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    for note in newest_first:
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(note.read_text())
            if birth(int(note.stem)) == content["birth"]:
                return {name: str(content[name]) for name in ("mqtt", "kafka")}
    return {}


@contextmanager
def remember(*, mqtt: str, kafka: str) -> Iterator[None]:
    """Let other commands find these brokers while this process lives and is inside."""
    note = _notes() / f"{os.getpid()}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_suffix(".part")
    partial.write_text(json.dumps({"birth": birth(os.getpid()), "mqtt": mqtt, "kafka": kafka}))
    partial.replace(note)
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def _notes() -> Path:
    return cache() / "up"


def is_free(port: int) -> bool:
    """Say whether nobody listens on this port of the loopback now."""
    with socket.socket() as probe:
        # Without it the traces of closed connections would look like a listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Give a loopback port that nobody uses, and that no outgoing connection will use.

    The kernel's own choice (port 0) comes from the range of outgoing connections: a client
    that keeps trying to reach a stopped broker there ends up connected to itself, and the
    broker cannot come back.
    """
    above = max(_first_outgoing_port(), FIRST_FREE_PORT + FREE_PORT_TRIES)
    for _ in range(FREE_PORT_TRIES):
        port = random.randrange(FIRST_FREE_PORT, above)  # noqa: S311 - no secret
        if is_free(port):
            return port
    raise MissingError(f"no free port found from {FIRST_FREE_PORT} to {above}; close some listening programs")


def _first_outgoing_port() -> int:
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return 32_768
