"""A frame in a consumer's hands, unopened."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BRIDGED_NS: Final = "bridged_ns"
"""Kafka header of a frame: when the bridge took it, decimal nanoseconds since 1970."""
STAMP: Final = re.compile(rb"[0-8]?[0-9]{1,18}")
"""What fits into 64 bits."""


def bridged_ns(headers: Sequence[tuple[str, bytes]]) -> int | None:
    """Read the bridge's stamp; None if there is none, or something else (any program may write to the topic)."""
    stamp = dict(headers).get(BRIDGED_NS) or b""
    return int(stamp) if STAMP.fullmatch(stamp) else None


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
