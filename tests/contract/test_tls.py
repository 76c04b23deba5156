"""TLS on sockets that do not wait, against a broker that breaks off at the worst moment."""

import os
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import mqtt5
import pytest

from brokers.secured import folder
from edgewise import security
from edgewise.clock import SystemClock
from edgewise.errors import RefusedError, UnreachableError
from edgewise.mqtt.access import TlsSocket, login
from edgewise.mqtt.opening import Opening, greeted
from edgewise.security import MqttAccess, Profile
from tests.real import eventually

LAST_WORDS: Final = b"you are not known here"
NO_RECORD: Final = b"this is no record of TLS"
RESET: Final = struct.pack("ii", 1, 0)
"""Of SO_LINGER: what a close then is."""
WITHIN_S: Final = 60


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "secrets"
    folder.make(out, folder.Wanted(hosts=("127.0.0.1",), cameras={}, lasts_s=3600), over=False)
    return out


@pytest.fixture
def access(secrets: Path) -> MqttAccess:
    found = security.read(secrets, part="bridge").mqtt
    assert found is not None
    return found


@contextmanager
def broker(doing: Callable[[socket.socket], object]) -> Iterator[str]:
    """Give the address of one that does this to its first client, and hangs up."""

    def serve() -> None:
        plain, _ = listener.accept()
        plain.settimeout(WITHIN_S)
        with plain:
            doing(plain)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as other:
        listener.settimeout(WITHIN_S)
        serving = other.submit(serve)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        serving.result(timeout=WITHIN_S)


def over_tls(secrets: Path, *, saying: bytes, after: int = 0) -> Callable[[socket.socket], object]:
    """Say this once so much was heard, and break TLS off in the middle of it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / "mosquitto" / folder.CERTIFICATE, secrets / "mosquitto" / folder.KEY)

    def doing(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as tls:
            heard = 0
            while heard < after:
                heard += len(tls.recv(4096))
            tls.sendall(saying)
            os.write(tls.fileno(), NO_RECORD)

    return doing


def hung_up(fileno: int) -> bool:
    """Say whether the kernel has heard that the other side is gone, whatever lies before it."""
    poll = select.poll()
    poll.register(fileno, select.POLLIN | select.POLLRDHUP)
    return any(event & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, event in poll.poll(100))


def test_what_a_broker_says_before_it_breaks_off_is_heard(secrets: Path, access: MqttAccess) -> None:
    with broker(over_tls(secrets, saying=LAST_WORDS)) as address:
        plain = socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])))
        plain.settimeout(0)
        tls = TlsSocket(plain, host="127.0.0.1", access=access)
        eventually(tls.shaken, within_s=WITHIN_S)
        eventually(lambda: hung_up(tls.fileno()), within_s=WITHIN_S)
        assert tls.recv(1 << 18) == LAST_WORDS
        with suppress(ssl.SSLError):
            assert tls.recv(1 << 18) == b"", "the end, one way or the other"
        tls.close()


def test_a_broker_that_says_no_over_tls_is_understood(secrets: Path, access: MqttAccess) -> None:
    no = mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write()
    with security.meanwhile(Profile(mqtt=access)):
        hello = mqtt5.ConnectPacket("", clean_start=True, **login())
        with (
            broker(over_tls(secrets, saying=no, after=len(hello.write()))) as address,
            pytest.raises(RefusedError, match="refused user 'bridge'"),
        ):
            greeted(address, hello=hello, clock=SystemClock())


def test_a_broker_that_goes_before_tls_begins_does_not_answer(access: MqttAccess) -> None:
    reached = threading.Event()

    def reset(plain: socket.socket) -> None:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert reached.wait(WITHIN_S)

    with security.meanwhile(Profile(mqtt=access)), broker(reset) as address:
        opening = Opening(address, hello=mqtt5.ConnectPacket("", clean_start=True), clock=SystemClock())
        eventually(opening._reached, within_s=WITHIN_S)  # noqa: SLF001 - so far it came
        reached.set()
        eventually(lambda: hung_up(opening.fileno()), within_s=WITHIN_S)
        with pytest.raises(UnreachableError, match="it speaks no TLS there"):
            opening.turn()
