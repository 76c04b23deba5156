"""Frame and Result, and their bytes on the wire.

Avro's single-object encoding: two marker bytes, the schema's fingerprint (CRC-64-AVRO),
the fields. The schemas stand in ``schemas/``; a golden test keeps the bytes as they are.
What is not a frame is refused with FrameError, whose ``rule`` is one of ``Rule``.
"""

import io
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

import crc32c
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint, to_parsing_canonical_form

from edgewise.errors import FrameError

FRAME_MAX_BYTES: Final = 1_000_000
CHECK_BYTES: Final = 4
CAMERA_NAME: Final = re.compile(r"[a-z0-9-]{1,64}")

MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = len(MARKER) + 8
DAMAGED: Final = (EOFError, ValueError, IndexError, KeyError, OverflowError, MemoryError, TypeError)
"""What fastavro raises on bytes that no writer of ours wrote."""


class Tier(StrEnum):
    """Where frames are classified."""

    GATEWAY = "gateway"
    CLUSTER = "cluster"


class Codec(StrEnum):
    """How the image stands in the payload."""

    RAW = "raw"
    PNG = "png"
    JPEG = "jpeg"
    TEXT = "text"


class Rule(StrEnum):
    """What a frame must keep; the name is the reason that a rejection carries."""

    EMPTY = "empty"
    """There must be bytes."""
    TOO_LARGE = "too-large"
    """At most FRAME_MAX_BYTES."""
    MAGIC = "magic"
    """The first two bytes are Avro's single-object marker."""
    SCHEMA = "schema"
    """The next eight are the fingerprint of a schema known here."""
    CHECK = "check-sum"
    """The last four are the CRC-32C of all before: nothing was changed or cut off."""
    FIELDS = "fields"
    """The rest is the schema's fields, and nothing after them."""
    CAMERA = "camera-name"
    """[a-z0-9-]{1,64}, the same in the frame as in its topic or key."""
    DIMENSIONS = "dimensions"
    """Width and height are positive and are the payload's."""
    PAYLOAD = "payload"
    """The payload is an image in the stated codec."""


def _schema(name: str) -> tuple[Any, bytes]:
    """Parse one schema file; give it and the header of its messages."""
    text = json.loads((Path(__file__).parent / "schemas" / f"{name}.avsc").read_text())
    digest = bytes.fromhex(fingerprint(to_parsing_canonical_form(text), "CRC-64-AVRO"))
    return parse_schema(text), MARKER + digest


FRAME_SCHEMA, FRAME_HEADER = _schema("frame")
RESULT_SCHEMA, RESULT_HEADER = _schema("result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image on its way; the fields are explained in ``schemas/frame.avsc``."""

    run: str
    camera: str
    number: int
    dataset: str
    split: str
    image: int
    width: int
    height: int
    codec: Codec
    due_ns: int
    sent_ns: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One tier's answer; the fields are explained in ``schemas/result.avsc``."""

    run: str
    camera: str
    number: int
    dataset: str
    split: str
    image: int
    tier: Tier
    engine: str
    model: str
    label: int
    score: float
    due_ns: int
    sent_ns: int
    bridged_ns: int | None
    appended_ns: int | None
    received_ns: int
    started_ns: int
    inferred_ns: int
    size_bytes: int
    batch: int
    tasks: int
    worker: str


def encode_frame(frame: Frame) -> bytes:
    """Write a frame as it travels."""
    out = io.BytesIO()
    out.write(FRAME_HEADER)
    schemaless_writer(out, FRAME_SCHEMA, _dict(frame) | {"check": bytes(CHECK_BYTES)})
    checked = out.getbuffer()[:-CHECK_BYTES]
    return bytes(checked) + crc32c.crc32c(checked).to_bytes(CHECK_BYTES, "big")


def decode_frame(wire: bytes) -> Frame:
    """Read a frame, or say which rule it breaks.

    Raises:
        FrameError: for any bytes that ``encode_frame`` did not write.
    """
    _refuse_size(wire)
    _refuse_header(wire, FRAME_HEADER)
    stated, found = wire[-CHECK_BYTES:], crc32c.crc32c(memoryview(wire)[:-CHECK_BYTES]).to_bytes(CHECK_BYTES, "big")
    if stated != found:
        raise FrameError(Rule.CHECK, f"{stated.hex()} at the end, {found.hex()} by the bytes: changed or cut off")
    fields = _fields(wire, FRAME_SCHEMA)
    del fields["check"]
    frame = Frame(**(fields | {"codec": Codec(fields["codec"])}))
    refuse_camera_name(frame.camera)
    if frame.width < 1 or frame.height < 1:
        raise FrameError(Rule.DIMENSIONS, f"{frame.width} x {frame.height} pixels")
    if frame.number < 0 or frame.image < 0:
        raise FrameError(Rule.FIELDS, f"number {frame.number}, image {frame.image}: both count from 0")
    return frame


def refuse_too_large(wire: bytes) -> None:
    """Raise FrameError if there are more bytes than a frame may have."""
    if len(wire) > FRAME_MAX_BYTES:
        raise FrameError(Rule.TOO_LARGE, f"{len(wire)} bytes, {FRAME_MAX_BYTES} allowed")


def refuse_camera_name(name: str) -> None:
    """Raise FrameError if no camera may have this name."""
    if not CAMERA_NAME.fullmatch(name):
        raise FrameError(Rule.CAMERA, f"{name[:80]!r} is not {CAMERA_NAME.pattern}")


def encode_result(result: Result) -> bytes:
    """Write a result as it travels."""
    out = io.BytesIO()
    out.write(RESULT_HEADER)
    schemaless_writer(out, RESULT_SCHEMA, _dict(result))
    return out.getvalue()


def _dict(message: Frame | Result) -> dict[str, Any]:
    """Give the fields by name; ``asdict`` would copy each, which takes three times as long as the writing."""
    return {name: getattr(message, name) for name in message.__slots__}


def decode_result(wire: bytes) -> Result:
    """Read a result.

    Raises:
        FrameError: for any bytes that ``encode_result`` did not write.
    """
    fields = result_fields(wire)
    return Result(**(fields | {"tier": Tier(fields["tier"])}))


def result_fields(wire: bytes) -> dict[str, Any]:
    """Read a result as its plain fields, which takes half as long: for who reads many and needs few of them.

    Raises:
        FrameError: for any bytes that ``encode_result`` did not write.
    """
    _refuse_size(wire)
    _refuse_header(wire, RESULT_HEADER)
    return _fields(wire, RESULT_SCHEMA)


def _refuse_size(wire: bytes) -> None:
    if not wire:
        raise FrameError(Rule.EMPTY, "0 bytes")
    refuse_too_large(wire)


def _refuse_header(wire: bytes, header: bytes) -> None:
    if wire[: len(MARKER)] != MARKER:
        raise FrameError(Rule.MAGIC, f"starts with {wire[: len(MARKER)].hex()} instead of {MARKER.hex()}")
    if wire[:HEADER_BYTES] != header:
        found = wire[len(MARKER) : HEADER_BYTES].hex()
        raise FrameError(Rule.SCHEMA, f"fingerprint {found}, known is {header[len(MARKER) :].hex()}")


def _fields(wire: bytes, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - fastavro's schemas have no type
    body = io.BytesIO(wire)
    body.seek(HEADER_BYTES)
    try:
        fields = cast("dict[str, Any]", schemaless_reader(body, schema, None))
    except DAMAGED as error:
        raise FrameError(Rule.FIELDS, f"{type(error).__name__} {error}"[:200]) from error
    if left := len(wire) - body.tell():
        raise FrameError(Rule.FIELDS, f"{left} bytes after the last one")
    return fields
