"""Ask an MQTT broker whether it is there, and what every embedded one must take."""

import socket
import ssl
from pathlib import Path
from typing import Final

from edgewise.addresses import LOOPBACK

ANSWER_WAIT_S: Final = 2.0
PACKET_MAX_BYTES: Final = 2 * 1024 * 1024
"""A frame has up to 1,000,000 bytes; what is larger should reach the bridge and be rejected by name."""

# CONNECT: MQTT 5, clean start, keep alive 10 s, no properties, the broker chooses the client id.
HELLO: Final = bytes.fromhex("10 0d 00 04 4d 51 54 54 05 02 00 0a 00 00 00")
GOODBYE: Final = bytes.fromhex("e0 00")
CONNACK: Final = 0x20
NOT_AUTHORIZED: Final = 0x87


def answers(port: int, *, ca: Path | None = None) -> bool:
    """Say whether an MQTT 5 client is welcome on this loopback port: CONNECT, and CONNACK with reason 0.

    With ``ca`` it is asked over TLS; it then need only say that it knows nobody without a name.
    """
    try:
        with _opened(port, ca) as connection:
            connection.sendall(HELLO)
            kind, _length, _flags, reason = connection.recv(4)
            if ca is None:
                connection.sendall(GOODBYE)
    except (OSError, ValueError):
        return False
    return kind == CONNACK and reason == (0 if ca is None else NOT_AUTHORIZED)


def _opened(port: int, ca: Path | None) -> socket.socket:
    plain = socket.create_connection((LOOPBACK, port), timeout=ANSWER_WAIT_S)
    if ca is None:
        return plain
    return ssl.create_default_context(cafile=ca).wrap_socket(plain, server_hostname=LOOPBACK)
