"""Whose message it is, without decoding it: for who looks at all of them and into a few.

The first three fields of a frame are those of a result too: run, camera, number. What is
no message of ours gives nothing; what is one may still be damaged further on.
"""

import re
from typing import Final

import crc32c

from edgewise.messages import CHECK_BYTES, FRAME_HEADER, HEADER_BYTES, RESULT_HEADER

CAMERA_MOST_BYTES: Final = 64
NUMBER_MOST_BYTES: Final = 10
"""Of a long, as Avro writes it."""
RUN_NAME: Final = re.compile(rb"[A-Za-z0-9._-]{1,80}")


def intact(wire: bytes) -> bool:
    """Say whether a frame's bytes are those that its camera wrote: their check sum fits."""
    return crc32c.crc32c(memoryview(wire)[:-CHECK_BYTES]).to_bytes(CHECK_BYTES, "big") == wire[-CHECK_BYTES:]


def _long(number: int) -> bytes:
    """Write a long as Avro does: zigzag, seven bits a byte, the lowest first."""
    left, written = (number << 1) ^ (number >> 63), bytearray()
    while left > 0x7F:  # noqa: PLR2004 - seven bits
        written.append((left & 0x7F) | 0x80)
        left >>= 7
    return bytes([*written, left])


def run_of(wire: bytes) -> str | None:
    """Give the run that a message says it is of; None if it is none of ours, or damaged there."""
    if not wire.startswith((FRAME_HEADER, RESULT_HEADER)):
        return None
    try:
        size, at = _read(wire, HEADER_BYTES)
    except IndexError:
        return None
    name = wire[at : at + size] if size > 0 else b""
    return name.decode() if len(name) == size and RUN_NAME.fullmatch(name) else None


class Peek:
    """Tells the messages of one run from all others, and gives their camera and number."""

    def __init__(self, run: str) -> None:
        name = run.encode()
        begins = _long(len(name)) + name
        self._frame, self._result = FRAME_HEADER + begins, RESULT_HEADER + begins
        self._after = HEADER_BYTES + len(begins)

    def frame(self, wire: bytes) -> tuple[str, int] | None:
        """Give a frame's camera and number; None if it is none of this run."""
        return self._named(wire) if wire.startswith(self._frame) else None

    def result(self, wire: bytes) -> tuple[str, int] | None:
        """Give a result's camera and number; None if it is none of this run."""
        return self._named(wire) if wire.startswith(self._result) else None

    def _named(self, wire: bytes) -> tuple[str, int] | None:
        try:
            size, at = _read(wire, self._after)
            if not 0 < size <= CAMERA_MOST_BYTES:
                return None
            number, _ = _read(wire, at + size)
            return wire[at : at + size].decode("ascii"), number
        except (IndexError, UnicodeDecodeError):
            return None


def _read(wire: bytes, at: int) -> tuple[int, int]:
    """Read a long; give it and where the next field begins."""
    found = shift = 0
    while True:
        byte = wire[at]
        found |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004 - seven bits
            return (found >> 1) ^ -(found & 1), at
        shift += 7
        if shift >= 7 * NUMBER_MOST_BYTES:
            raise IndexError(at)
