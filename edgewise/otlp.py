"""Spans as OpenTelemetry's collectors take them: OTLP in JSON, to a file line by line or over HTTP.

That is all of OpenTelemetry there is here: one JSON object needs no library of theirs.
"""

import contextlib
import http.client
import json
import queue
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, Final, Protocol

from edgewise import __version__
from edgewise.errors import ConfigError, MissingError
from edgewise.parts import warn

PATH: Final = "/v1/traces"
"""Of a collector's address that has none."""
WAITING_MOST: Final = 1000
"""Requests that wait for a collector; what comes then is lost, and said."""
ANSWER_S: Final = 5.0
"""How long a collector may take to answer, and the last requests at the end."""
ERROR: Final = 2
"""OTLP's number for a span that went wrong."""


class Kind(IntEnum):
    """Of a span, by OTLP's numbers."""

    INTERNAL = 1
    PRODUCER = 4
    CONSUMER = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step of a trace."""

    service: str
    """The part whose step it is."""
    name: str
    trace: str
    """Its id, 32 hex digits."""
    id: str
    """Its own, 16 hex digits."""
    parent: str = ""
    """The id of the span that it is in; empty for the outermost."""
    start_ns: int
    end_ns: int
    kind: Kind = Kind.INTERNAL
    facts: Mapping[str, str | int] = field(default_factory=dict)
    error: str = ""
    """What went wrong, if something did."""


def request(spans: Iterable[Span]) -> bytes:
    """Write spans as one export request, each service's together."""
    by_service: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        by_service.setdefault(span.service, []).append(_span(span))
    scope = {"name": "edgewise", "version": __version__}
    resources = [
        {
            "resource": {"attributes": _attributes({"service.name": service, "service.namespace": "edgewise"})},
            "scopeSpans": [{"scope": scope, "spans": its}],
        }
        for service, its in by_service.items()
    ]
    return json.dumps({"resourceSpans": resources}, separators=(",", ":")).encode()


def _span(span: Span) -> dict[str, Any]:
    parent = {"parentSpanId": span.parent} if span.parent else {}
    status = {"status": {"code": ERROR, "message": span.error}} if span.error else {}
    return {
        "traceId": span.trace,
        "spanId": span.id,
        **parent,
        "name": span.name,
        "kind": int(span.kind),
        # 64 bits are text in JSON, as Protocol Buffers want it.
        "startTimeUnixNano": str(span.start_ns),
        # Two machines' clocks may disagree, and Kafka's stamps have whole milliseconds: nothing takes less than none.
        "endTimeUnixNano": str(max(span.start_ns, span.end_ns)),
        "attributes": _attributes(span.facts),
        **status,
    }


def _attributes(facts: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": name, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for name, value in facts.items()
    ]


class Writer(Protocol):
    """Where spans go; never in the way of who writes them."""

    def write(self, spans: Sequence[Span]) -> None:
        """Hand over spans."""

    def close(self) -> None:
        """Write what waits."""


class FileWriter:
    """One request a line, in a file that begins anew."""

    def __init__(self, path: Path) -> None:
        """Begin.

        Raises:
            MissingError: it cannot be written.
        """
        self._path, self._failed = path, False
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise MissingError(f"--trace-out {path} cannot be written: {error.strerror}; choose another") from error

    def write(self, spans: Sequence[Span]) -> None:
        """See Writer."""
        if self._failed:
            return
        try:
            self._file.write(request(spans) + b"\n")
            self._file.flush()
        except OSError as error:
            self._failed = True
            warn(f"--trace-out {self._path} takes no more: {error.strerror}; the traces from here on are lost")

    def close(self) -> None:
        """See Writer."""
        with contextlib.suppress(OSError):  # what was not flushed was said to be lost
            self._file.close()


class HttpWriter:
    """A collector, asked by a thread of its own: one that is slow or away holds up nobody, and loses what it loses."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: queue.Queue[bytes | None] = queue.Queue(WAITING_MOST)
        self._thread = threading.Thread(target=self._post, name="traces", daemon=True)
        self._thread.start()

    def write(self, spans: Sequence[Span]) -> None:
        """See Writer."""
        try:
            self._waiting.put_nowait(request(spans))
        except queue.Full:
            warn(f"traces: {self._url} is too slow; some are lost", kind="traces")

    def close(self) -> None:
        """See Writer."""
        try:
            self._waiting.put(None, timeout=ANSWER_S)
        except queue.Full:
            return
        self._thread.join(ANSWER_S)

    def _post(self) -> None:
        while (body := self._waiting.get()) is not None:
            headers = {"Content-Type": "application/json"}
            asked = urllib.request.Request(self._url, data=body, headers=headers)  # noqa: S310 - http or https, see below
            try:
                with urllib.request.urlopen(asked, timeout=ANSWER_S):  # noqa: S310 - the same
                    pass
            except (OSError, http.client.HTTPException) as error:
                warn(f"traces: {self._url} does not take them: {error}; these are lost", kind="traces")


def _url(place: str) -> str:
    """Give a collector's address, with the usual path if it has none."""
    try:
        parts = urllib.parse.urlsplit(place)
        if parts.hostname and parts.port != 0:
            return place if parts.path.strip("/") else parts._replace(path=PATH).geturl()
    except ValueError:
        pass
    raise ConfigError(f"--trace-out {place} is no collector's address; try http://localhost:4318")


@contextlib.contextmanager
def writing(place: str) -> Iterator[Writer | None]:
    """Give what writes to a file or a collector, while inside; None if no place is named.

    Raises:
        MissingError: the file cannot be written.
        ConfigError: that is no address.
    """
    if not place:
        yield None
        return
    is_address = place.startswith(("http://", "https://"))
    writer: Writer = HttpWriter(_url(place)) if is_address else FileWriter(Path(place))
    try:
        yield writer
    finally:
        writer.close()
