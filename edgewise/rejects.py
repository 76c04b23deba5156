"""The way of what is no frame: to ``frames-rejected``, with the reason, nothing dropped in silence."""

import hashlib
from typing import Final

from edgewise.arrival import Arrival
from edgewise.errors import FrameError
from edgewise.kafka import Header, Producer
from edgewise.parts import warn
from edgewise.peek import run_of
from edgewise.topics import REJECTED

KEPT_BYTES: Final = 512 * 1024
"""Of the original; its size and SHA-256 say what the rest was."""


Record = tuple[str, bytes, list[Header]]
"""Key, value, headers."""


def rejection(arrival: Arrival, *, error: FrameError, by: str) -> Record:
    """Write down what broke a rule."""
    headers: list[Header] = [
        ("rule", error.rule.encode()),
        ("reason", str(error).encode()),
        ("size_bytes", str(len(arrival.wire)).encode()),
        ("sha256", hashlib.sha256(arrival.wire).hexdigest().encode()),
        ("from", arrival.origin.encode()),
        ("by", by.encode()),
    ]
    return arrival.camera[:64], arrival.wire[:KEPT_BYTES], headers


def reject(producer: Producer, arrival: Arrival, *, error: FrameError, by: str) -> None:
    """Store what broke a rule, under the arrival's receipt."""
    warn(
        f"{by}: rejected a frame of {arrival.camera[:64]!r}: {error}",
        kind=error.rule,
        camera=arrival.camera[:64],
        run=run_of(arrival.wire),
    )
    key, kept, headers = rejection(arrival, error=error, by=by)
    producer.send(REJECTED, key=key, value=kept, receipt=arrival.receipt, headers=headers)
