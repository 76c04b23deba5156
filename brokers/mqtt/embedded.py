"""The choice between the embedded MQTT brokers."""

from pathlib import Path
from typing import Literal

from brokers.broker import Broker
from brokers.mqtt import hivemq, mosquitto
from edgewise.clock import Clock
from edgewise.errors import ConfigError

Choice = Literal["auto", "mosquitto", "hivemq"]
"""``auto`` is mosquitto where it is installed, else HiveMQ."""


def mqtt(
    data: Path, *, port: int = 0, choice: Choice = "auto", clock: Clock | None = None, secured: Path | None = None
) -> Broker:
    """Give an MQTT 5 broker that keeps everything in ``data``; with ``secured``, a folder of secrets, for its users.

    Raises:
        MissingError: mosquitto was asked for and is not installed.
        ConfigError: HiveMQ was asked for, with users.
    """
    if secured is not None:
        if choice == "hivemq":
            raise ConfigError("HiveMQ Community Edition knows no users: with --security it has to be mosquitto")
        return Broker(mosquitto.Mosquitto(secured), data=data, port=port, clock=clock)
    if choice == "hivemq" or (choice == "auto" and mosquitto.program() is None):
        return Broker(hivemq.HiveMq(), data=data, port=port, clock=clock)
    return Broker(mosquitto.Mosquitto(), data=data, port=port, clock=clock)
