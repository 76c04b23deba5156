"""Fetch the jars that no wheel brings, once, with the Ivy that pyspark brings along.

What is fetched stands in ``jars.xml``, one conf a program. A folder of jars appears in
the cache whole or not at all, beside a list of its files and their sizes, so that a
jar which lost its end is noticed and fetched again.
"""

import hashlib
import importlib.util
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from edgewise import java, processes
from edgewise.clock import SECOND_NS, Clock, SystemClock
from edgewise.errors import MissingError
from edgewise.parts import say
from edgewise.places import cache, locked
from edgewise.show import drawing

WANTED: Final = Path(__file__).with_name("jars.xml")
TRIES: Final = 3
LOOK_AGAIN_S: Final = 0.2
CONNECT_WAIT_MS: Final = 15_000
READ_WAIT_MS: Final = 60_000
MANIFEST: Final = "manifest.json"
INSTALL_SPARK: Final = "pip install pyspark==3.5.7"


@dataclass(frozen=True, slots=True)
class Sort:
    """One conf of ``jars.xml``, for people."""

    conf: str
    what: str
    size_mb: int
    """Roughly what will be downloaded."""


KAFKA: Final = Sort("kafka", "Apache Kafka", 46)
HIVEMQ: Final = Sort("mqtt", "HiveMQ Community Edition", 103)
SPARK: Final = Sort("spark", "Spark's Kafka connector", 6)


def folder(sort: Sort, *, wanted: Path = WANTED) -> Path:
    """Say where these jars belong; the name changes with what ``jars.xml`` wants."""
    # Parsed, so that a comment or another broker's version does not make anyone download again.
    dependencies = ET.parse(wanted).getroot().iter("dependency")  # noqa: S314 - our own file
    entries = [ET.tostring(entry).strip() for entry in dependencies if _conf(entry) == sort.conf]
    return cache() / "jars" / f"{sort.conf}-{hashlib.sha256(b' '.join(entries)).hexdigest()[:12]}"


def present(sort: Sort) -> bool:
    """Say whether the jars are here, each with its full size."""
    return not _damage(folder(sort))


def fetch(sort: Sort, *, clock: Clock | None = None) -> Path:
    """Return the folder of these jars, fetching them first if it is not whole.

    Several processes may call this at once: one fetches, the others wait for it.

    Raises:
        MissingError: no Ivy, no Java, or the download failed three times; the text names what was missing.
    """
    place = folder(sort)
    if not _damage(place):
        return place
    with locked(f"jars-{sort.conf}"):
        if damage := _damage(place):
            if place.exists():
                say(f"{damage}; fetching the jars of {sort.what} again")
                shutil.rmtree(place)
            _fill(place, sort, clock or SystemClock())
    return place


def ivy() -> Path:
    """Find pyspark's Ivy without loading pyspark.

    Raises:
        MissingError: there is no pyspark, or it has no Ivy.
    """
    found = inside("pyspark", "jars/ivy-*.jar")
    if not found:
        raise MissingError(
            f"no Ivy to fetch jars with: pyspark is not installed in this Python; install it with: {INSTALL_SPARK}"
        )
    return found[0]


def inside(package: str, pattern: str) -> Sequence[Path]:
    """Find files of an installed package without loading it; none without the package."""
    spec = importlib.util.find_spec(package)
    places = (spec.submodule_search_locations or []) if spec else []
    return [found for place in places for found in sorted(Path(place).glob(pattern))]


def _conf(entry: ET.Element) -> str:
    return entry.get("conf", "").partition("->")[0]


def _damage(place: Path) -> str:
    """Say what is wrong with a folder of jars; empty if nothing is."""
    try:
        sizes: dict[str, int] = json.loads((place / MANIFEST).read_text())
    except FileNotFoundError:
        return f"{place} is not there or not whole"
    except ValueError:
        return f"{place / MANIFEST} is damaged"
    for name, size_bytes in sizes.items():
        jar = place / name
        found = jar.stat().st_size if jar.exists() else 0
        if found != size_bytes:
            return f"{jar} has {found} bytes instead of {size_bytes}"
    return ""


def _fill(place: Path, sort: Sort, clock: Clock) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    # Ivy's own cache outlives a failed try, so that the next one goes on where this one ended.
    downloads = place.with_name(f".{place.name}.ivy")
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as scratch:
        problem = ""
        for attempt in range(1, TRIES + 1):
            problem = _run_ivy(sort, Path(scratch), downloads, Path(scratch) / f"ivy-{attempt}.log", clock)
            if not problem:
                break
            say(f"fetching {sort.what}, try {attempt} of {TRIES}: {problem}")
        if problem:
            raise MissingError(
                f"the jars of {sort.what} could not be fetched: {problem}; check the network (Ivy needs to reach "
                f"Maven Central or its mirror) and start again, or copy {place} from another machine"
            )
        jars = Path(scratch) / "jars"
        sizes = {jar.name: jar.stat().st_size for jar in sorted(jars.glob("*.jar"))}
        (jars / MANIFEST).write_text(json.dumps(sizes, indent=1))
        jars.rename(place)
    shutil.rmtree(downloads, ignore_errors=True)
    say(f"{sort.what}: {len(sizes)} jars, {sum(sizes.values()) / 1e6:.0f} MB, kept in {place}")


def _run_ivy(sort: Sort, scratch: Path, downloads: Path, log: Path, clock: Clock) -> str:
    """Let Ivy fetch once; return what went wrong, empty if nothing did."""
    runtime = java.find()
    child = processes.start(
        [
            str(runtime.program),
            *runtime.options,
            f"-Dsun.net.client.defaultConnectTimeout={CONNECT_WAIT_MS}",
            f"-Dsun.net.client.defaultReadTimeout={READ_WAIT_MS}",
            *("-jar", str(ivy())),
            *("-cache", str(downloads)),
            *("-ivy", str(WANTED)),
            *("-confs", sort.conf),
            *("-retrieve", str(scratch / "jars" / "[artifact]-[revision](-[classifier]).[ext]")),
        ],
        name="Ivy",
        log=log,
    )
    try:
        _show(child, sort, downloads, clock)
    finally:
        child.kill()
    return "" if child.exit_code == 0 else problem_in(log.read_text(errors="replace"))


def _show(child: processes.Child, sort: Sort, downloads: Path, clock: Clock) -> None:
    """Show how far Ivy is, until it ends."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=drawing(), transient=True) as progress:
        if not progress.console.is_terminal:
            say(f"fetching {sort.what} (about {sort.size_mb} MB, once) ...")
        bar = progress.add_task(f"fetching {sort.what} (about {sort.size_mb} MB, once)")
        while child.running():
            jars = [jar.stat().st_size for jar in downloads.rglob("*.jar") if jar.exists()]
            done = f"{len(jars)} jars, {sum(jars) / 1e6:.0f} of about {sort.size_mb} MB"
            progress.update(bar, description=f"fetching {sort.what}, once: {done if jars else 'resolving'}")
            clock.sleep_until(clock.ticks_ns() + round(LOOK_AGAIN_S * SECOND_NS))


def problem_in(log: str) -> str:
    """Pick out of Ivy's log what it could not find or load."""
    missing = re.findall(r":: (\S+#\S+?;\S+): not found", log)
    failed = re.findall(r"\[FAILED\s*\]\s+(\S+#\S+?):? ", log)
    silent = re.findall(r"(?:Server access error|Host \S+ not found|Connection (?:refused|timed out))[^\n]*", log)
    named = list(dict.fromkeys([*missing, *failed]))
    if named or silent:
        return "; ".join([*named[:3], *silent[:1]])[:300]
    said = log.strip().splitlines()
    return said[-1].strip()[:300] if said else "Ivy ended without a word"
