"""The choice between the embedded MQTT brokers, and how to ask whether one is there."""

import socket
from pathlib import Path
from typing import Final, Literal

from brokers.broker import Broker
from edgewise.addresses import LOOPBACK
from edgewise.clock import Clock

Choice = Literal["auto", "mosquitto", "hivemq"]
"""``auto`` is mosquitto where it is installed, else HiveMQ."""
ANSWER_WAIT_S: Final = 2.0
PACKET_MAX_BYTES: Final = 2 * 1024 * 1024
"""A frame has up to 1,000,000 bytes; what is larger should reach the bridge and be rejected by name."""

# CONNECT: MQTT 5, clean start, keep alive 10 s, no properties, the broker chooses the client id.
HELLO: Final = bytes.fromhex("10 0d 00 04 4d 51 54 54 05 02 00 0a 00 00 00")
GOODBYE: Final = bytes.fromhex("e0 00")
CONNACK: Final = 0x20


def mqtt(data: Path, *, port: int = 0, choice: Choice = "auto", clock: Clock | None = None) -> Broker:
    """Give an MQTT 5 broker that keeps everything in ``data``.

    Raises:
        MissingError: mosquitto was asked for and is not installed.
    """
    from brokers.mqtt import hivemq, mosquitto

    if choice == "hivemq" or (choice == "auto" and mosquitto.program() is None):
        return Broker(hivemq.HiveMq(), data=data, port=port, clock=clock)
    return Broker(mosquitto.Mosquitto(), data=data, port=port, clock=clock)


def answers(port: int) -> bool:
    """Say whether an MQTT 5 client is welcome on this loopback port: CONNECT, and CONNACK with reason 0."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=ANSWER_WAIT_S) as connection:
            connection.sendall(HELLO)
            kind, _length, _flags, reason = connection.recv(4, socket.MSG_WAITALL)
            connection.sendall(GOODBYE)
    except (OSError, ValueError):
        return False
    return kind == CONNACK and reason == 0
