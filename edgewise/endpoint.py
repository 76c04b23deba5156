"""Where a Prometheus scrapes a part: off unless a port is given, on the loopback unless a host is.

A scrape reads what the part has counted anyway; the part itself waits for nobody.
"""

import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field

from edgewise import __version__, metrics
from edgewise.addresses import LOOPBACK, PORT_MAX
from edgewise.errors import ConfigError, EdgewiseError
from edgewise.family import Family
from edgewise.meter import Meter
from edgewise.metrics import Histogram, Metric, Reading
from edgewise.parts import warn

Families = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Source = Callable[[], Iterable[Reading]]
"""Gives what a part has to tell now; any thread may ask."""
WATCH_S: Final = 5.0
"""How often what takes its time is looked at."""
END_S: Final = 2.0
"""How long a scrape under way may take when the part ends."""


class Place(BaseModel):
    """Where a part is to be scraped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(default=0, ge=0, le=PORT_MAX)
    """0 serves nothing."""
    host: str = LOOPBACK
    """Address to listen on; anybody who reaches it may read."""


NOWHERE: Final = Place()


class Told(Collector):
    """What one part tells: of itself from the start, of its work as soon as it has a source."""

    def __init__(self, part: str, *, name: str, run: str, on: bool) -> None:
        self._part, self._name, self._run, self.on = part, name, run, on
        self._engine = self._model = ""
        self._sources: list[Source] = []
        self._family, self._turn, self._over = Family(), Lock(), Event()

    def by(self, source: Source) -> None:
        """Have one more source asked at each scrape."""
        self._sources.append(source)

    def watches(self, source: Source, *, every_s: float = WATCH_S) -> None:
        """Have a source asked now and then by a thread of its own: a broker that is away must not hold up a scrape."""
        if not self.on:
            return
        found: list[Reading] = []

        def watch() -> None:
            said = False
            while not self._over.is_set():
                try:
                    found[:] = source()
                except EdgewiseError:
                    found.clear()  # what is not known is not told
                except Exception as error:  # noqa: BLE001 - the top of a thread: without it nothing is told any more
                    found.clear()
                    if not said:
                        warn(
                            f"{self._part}: metrics: {type(error).__name__}: {error}; asking again every {every_s:g} s"
                        )
                    said = True
                self._over.wait(every_s)

        self.by(lambda: list(found))
        Thread(target=watch, name="watch", daemon=True).start()

    def end(self) -> None:
        """Watch no more."""
        self._over.set()

    def named(self, name: str) -> None:
        """Say which of its kind it is, where it learns that itself."""
        self._name = name

    def runs(self, *, engine: str, model: str) -> None:
        """Say what runs which model."""
        self._engine, self._model = engine, model

    def keeps(self, folder: Path, *, holds: str) -> None:
        """Have the disk under a folder looked at."""
        self.by(lambda: disk(folder, holds=holds))

    def collect(self) -> Iterable[Families]:
        """Give everything as Prometheus' library wants it."""
        with self._turn:  # of two scrapes at once: looking at the family is for one
            readings = [*self._of_itself(), *(one for source in self._sources for one in source())]
        families: dict[str, Families] = {}
        for reading in readings:
            if reading.metric.name not in families:
                families[reading.metric.name] = _family(reading.metric)
            _add(families[reading.metric.name], reading, part=self._part)
        return families.values()

    def _of_itself(self) -> Iterator[Reading]:
        self._family.look()
        yield metrics.BUILD_INFO.of(1, __version__, platform.python_version())
        yield metrics.PART_INFO.of(1, self._name, self._run, self._engine, self._model)
        yield metrics.CPU_SECONDS.of(self._family.cpu_s())
        yield metrics.MEMORY_BYTES.of(self._family.held_bytes)


def disk(folder: Path, *, holds: str) -> Iterator[Reading]:
    """Give size of a folder's file system, and what is free; nothing while there is no such folder."""
    with suppress(OSError):
        found = shutil.disk_usage(folder)
        yield metrics.DISK_FREE_BYTES.of(found.free, holds)
        yield metrics.DISK_SIZE_BYTES.of(found.total, holds)


def _family(metric: Metric) -> Families:
    labels = ("part", *metric.labels)
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.says, labels=labels)
    if metric.kind == "gauge":
        return GaugeMetricFamily(metric.name, metric.says, labels=labels)
    return HistogramMetricFamily(metric.name, metric.says, labels=labels)


def _add(family: Families, reading: Reading, *, part: str) -> None:
    labels, value = (part, *reading.labels), reading.value
    if isinstance(family, HistogramMetricFamily):
        assert isinstance(value, Histogram)  # noqa: S101 - by its definition
        family.add_metric(labels, value.buckets(), value.total / reading.metric.per_unit)
    else:
        assert not isinstance(value, Histogram)  # noqa: S101 - the same
        family.add_metric(labels, value)


@contextmanager
def serving(place: Place, part: str, *, name: str = "", run: str = "") -> Iterator[tuple[Told, Meter]]:
    """Serve while inside; give what is to be told what, and what counts. Without a port neither costs anything.

    Raises:
        ConfigError: another program listens there, or this machine has no such address.
    """
    told, meter = Told(part, name=name, run=run, on=bool(place.port)), Meter(on=bool(place.port))
    if not place.port:
        yield told, meter
        return
    registry = CollectorRegistry()
    registry.register(told)
    ProcessCollector(registry=registry)
    try:
        server, thread = start_http_server(place.port, addr=place.host, registry=registry)
    except OSError as error:
        raise ConfigError(_why(place, error)) from error
    try:
        yield told, meter
    finally:
        told.end()
        server.shutdown()
        server.server_close()
        thread.join(END_S)


def _why(place: Place, error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"--metrics-port {place.port}: nothing can be served at {place.host}:{place.port} ({reason}); give another"
