"""A frame in a consumer's hands, unopened."""

from dataclasses import dataclass
from typing import Final

BRIDGED_NS: Final = "bridged_ns"
"""Kafka header of a frame: when the bridge took it, decimal nanoseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whose it says it is, its bytes, and how to give it back as finished."""

    camera: str
    """From the MQTT topic or the Kafka key; the frame inside must say the same."""
    wire: bytes
    receipt: int
    received_ns: int
    origin: str
    """Where it came from, for a rejection: MQTT topic, or Kafka topic/partition@offset."""
    bridged_ns: int | None = None
    appended_ns: int | None = None
