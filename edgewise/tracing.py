"""The way of one frame as a trace, by W3C's trace context: which frames are followed, and what travels with them.

A frame that is followed has ``traceparent`` among its MQTT user properties, and the bridge
copies that to a Kafka header of the same name; no part opens the frame for it, and a frame
that is not followed carries nothing. The trace's id comes from the frame's name alone, so
that a camera that sends a frame again needs to remember nothing.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

TRACEPARENT: Final = "traceparent"
FORM: Final = re.compile(r"00-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
"""Version 00, which is all there is of it."""
SAMPLED: Final = 1
Context = tuple[str, str]
"""Ids of a trace, and of its first span."""
SPAN_DIGITS: Final = 16


def is_followed(number: int, *, every: int) -> bool:
    """Say whether this is one of a camera's frames that are followed: each Nth, and so never its first of many."""
    return number % every == every - 1


def traceparent(run: str, camera: str, number: int) -> str:
    """Name the trace of a frame, and its first span."""
    digits = hashlib.sha256(f"{run}/{camera}/{number}".encode()).hexdigest()
    return f"00-{digits[:32]}-{digits[32:48]}-{SAMPLED:02x}"


def carried(properties: Iterable[tuple[str, str]]) -> str | None:
    """Give the trace context among a message's properties; None if there is none, or only something else."""
    return next((value for name, value in properties if name == TRACEPARENT and FORM.fullmatch(value)), None)


def sampled(header: bytes | None) -> Context | None:
    """Give the ids of trace and span in a Kafka header; None if there are none, or nobody wants to follow it."""
    found = FORM.fullmatch(header.decode(errors="replace")) if header else None
    return (found["trace"], found["span"]) if found and int(found["flags"], 16) & SAMPLED else None


def span_id(trace: str, *names: str) -> str:
    """Name a span inside a trace, the same whoever asks."""
    return hashlib.sha256("/".join((trace, *names)).encode()).hexdigest()[:SPAN_DIGITS]
