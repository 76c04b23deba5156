"""Any topic in readable form, a line a record: for people (table) or programs (JSON)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from edgewise import account, kafka, topics
from edgewise.arrival import BRIDGED_NS, bridged_ns
from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.errors import FrameError
from edgewise.kafka import Client, Record
from edgewise.messages import Frame, Result, decode_frame, decode_result
from edgewise.show import printable


def tail(
    address: str, topic: str, *, client: Client, clock: Clock, from_end: bool, limit: int | None, within_s: float | None
) -> Iterator[dict[str, Any]]:
    """Yield the records of a topic, readable; end after ``limit`` records or ``within_s`` without one."""
    topics.ensure(address)
    consumer = kafka.consumer(address, topics=[topic], client=client, from_end=from_end)
    left = limit
    try:
        quiet = Deadline(clock, within_s=within_s or 0)
        while left != 0 and (within_s is None or not quiet.passed()):
            records = consumer.take(limit=min(500, left) if left is not None else 500, wait_s=0.2)
            for record in records:
                yield readable(record)
            if records:
                left = None if left is None else left - len(records)
                quiet = Deadline(clock, within_s=within_s or 0)
    finally:
        consumer.close()


def readable(record: Record) -> dict[str, Any]:
    """Give one record as plain values; what cannot be decoded says so instead."""
    place = {"partition": record.partition, "offset": record.offset, "appended": _moment(record.appended_ns)}
    try:
        match record.topic:
            case topics.FRAMES:
                return place | _plain(decode_frame(record.value)) | {BRIDGED_NS: bridged_ns(record.headers)}
            case topics.RESULTS:
                return place | _plain(decode_result(record.value))
            case topics.REJECTED:
                said = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
                return place | said | {"first_bytes": record.value[:16].hex()}
            case _:
                entry = account.decode(record.value)
                return place | {"key": record.key} | (entry.model_dump(mode="json") if entry else {"unreadable": True})
    except FrameError as error:
        return place | {"unreadable": str(error)}


def _plain(message: Frame | Result) -> dict[str, Any]:
    fields = {name: getattr(message, name) for name in type(message).__slots__}
    if isinstance(message, Frame):
        fields["payload"] = f"{len(message.payload)} bytes"
    return fields


def _moment(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns / SECOND_NS, tz=UTC).isoformat(timespec="milliseconds")


def line(values: dict[str, Any], *, as_json: bool) -> str:
    """Write one record as a line."""
    if as_json:
        return json.dumps(values)
    shown = "  ".join(f"{name}={value}" for name, value in values.items() if value is not None)
    return printable(shown)
