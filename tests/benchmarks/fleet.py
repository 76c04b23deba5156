"""The cameras at their aims, and beside Locust's: rates, lateness, processor and memory, with the broker's own.

Each case starts ``edgewise fleet`` as a user would, on the last core; brokers, and a subscriber
that reads the senders' own stamps, are on the first. What a process spends is counted from its
first frame on, so that no start is in it.
"""

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import psutil
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import addresses, dataset, processes
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Deadline, SystemClock
from edgewise.errors import EdgewiseError
from edgewise.family import Family
from edgewise.parts import say
from edgewise.processes import Child
from producers.fleet import open_files
from tests.benchmarks.cases import wire
from tests.benchmarks.listener import UNKNOWN, Listener, Numbers
from tests.unit.test_arrivals import exponential_law, kolmogorov_smirnov, lognormal_law

CLOCK: Final = SystemClock()
CASES: Final = ("cameras", "raw", "gaps", "locust")
LOCUST: Final = ("locust==2.47.0", "paho-mqtt==2.1.0")
INSTALL_S: Final = 600
START_S: Final = 180.0
LOOK_S: Final = 0.5
EDGE_S: Final = 1.0
"""Before the end of the schedule, in which no cost is counted: a process may end in it."""
WITHIN: Final = 0.02
"""Of the asked rate, that is as good as it."""
RAW_HZ: Final = 2000
SIDE_CAMERAS: Final = 100
SIDE_HZ: Final = 500
LADDER_HZ: Final = tuple(250 * 2**step for step in range(8))
LADDER_S: Final = 12.0
GAPS_HZ: Final = (10, 100, 1000)
GAPS_S: Final = 20.0
GAPS_CAMERAS: Final = 2
GAPS_SIGMA: Final = 0.5

Figures = dict[str, float]
Cases = dict[str, Figures]
Start = Callable[[float, float], Child]
"""Start cameras: their rate together, and for how long."""
Law = Callable[[NDArray[np.float64], float], NDArray[np.float64]]
"""Of gaps in seconds, at a camera's rate."""
LAWS: Final[Mapping[str, Law]] = {
    "poisson": lambda gaps, rate_hz: exponential_law(gaps, rate_hz=rate_hz),
    f"lognormal:sigma={GAPS_SIGMA}": lambda gaps, rate_hz: lognormal_law(gaps, rate_hz=rate_hz, sigma=GAPS_SIGMA),
}
"""By the pattern as ``--arrival`` says it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the cases run."""

    folder: Path
    mqtt: Broker
    kafka: Broker
    cores: Sequence[int]

    def ours(self, *, cameras: int, arrival: str = "periodic") -> Start:
        """Give what starts our cameras."""

        def start(rate_hz: float, for_s: float) -> Child:
            name = f"fleet-{uuid4().hex}"
            shape = ("--cameras", str(cameras), "--rate-hz", str(rate_hz / cameras), "--duration-s", str(for_s))
            others = ("--arrival", arrival, "--wait-for", "", "--run", name, "--wait-s", "120", "--format", "json")
            where = ("--mqtt", self.mqtt.address, "--kafka", self.kafka.address)
            command = [sys.executable, "-m", "edgewise", "fleet", *shape, *others, *where]
            return processes.start(command, name=name, log=self.folder / f"{name}.log", cores=self.cores)

        return start

    def locusts(self, python: Path, *, cameras: int) -> Start:
        """Give what starts Locust's."""
        payload = self.folder / "payload"
        payload.write_bytes(wire(0, dataset.load("test", say=say).images))
        where = addresses.parse(self.mqtt.address, option="--mqtt")

        def start(rate_hz: float, for_s: float) -> Child:
            told = {
                "BENCH_PAYLOAD": str(payload),
                "BENCH_HOST": where.host,
                "BENCH_PORT": str(where.port),
                "BENCH_RATE_HZ": str(rate_hz / cameras),
                "PATH": str(python.parent),
            }
            users = ("-u", str(cameras), "-r", str(cameras), "-t", f"{round(for_s + 2)}s", "--stop-timeout", "5")
            file = Path(__file__).with_name("locustfile.py")
            command = [str(python), "-m", "locust", "-f", str(file), "--headless", "--only-summary", *users]
            log = self.folder / f"locust-{uuid4().hex}.log"
            return processes.start(command, name="locust", log=log, env=told, cwd=self.folder, cores=self.cores)

        return start


def measured(
    place: Place, start: Start, *, cameras: int, rate_hz: float, for_s: float, law: Law | None = None
) -> Figures:
    """Let cameras send, and say how well they kept the rate, and perhaps the pattern, and what that cost.

    Raises:
        SystemExit: nothing was heard of them.
    """
    listener = Listener(place.mqtt.address, client_id=f"bench-{uuid4().hex}")
    broker_pid = place.mqtt.pid
    assert broker_pid is not None
    broker = psutil.Process(broker_pid)
    child = start(rate_hz, for_s)
    try:
        given_up = Deadline(CLOCK, within_s=START_S)
        while not len(listener.heard):
            if given_up.passed() or not child.running():
                raise SystemExit(f"no frame was heard of {child.name}:\n{child.tail(lines=20)}")
            given_up.pause(for_s=0.05)
        family = Family(child.pid)
        before, heard = (*_spent(family), _cpu_s(broker), CLOCK.ticks_ns()), len(listener.heard)
        over, after, broker_bytes = Deadline(CLOCK, within_s=for_s - EDGE_S), before, 0
        while not over.passed() and child.running():
            over.pause(for_s=min(LOOK_S, over.left_s()))
            after = (*_spent(family), _cpu_s(broker), CLOCK.ticks_ns())
            broker_bytes = max(broker_bytes, broker.memory_info().rss)
        frames = len(listener.heard) - heard
        child.wait(within_s=60)
    finally:
        child.stop(within_s=20)
    cpu_s, broker_cpu_s = after[0] - before[0], after[2] - before[2]
    wall_s = (after[3] - before[3]) / SECOND_NS
    cost = {
        "cores": cpu_s / wall_s,
        "cpu_s_per_1000": cpu_s / max(frames, 1) * 1000,
        "memory_mb": after[1] / 1e6,
        "broker_cores": broker_cpu_s / wall_s,
        "broker_memory_mb": broker_bytes / 1e6,
    }
    found = listener.close()
    sender, number, due_ns, sent_ns = found.rows()
    pace = kept(sender, number, due_ns, sent_ns, cameras=cameras, rate_hz=rate_hz)
    figures = {"connected": found.connected, **cost, **pace, **accounted(child, pace)}
    if law is not None:
        gaps = {name: gaps_s(sender, moments) for name, moments in (("due_p", due_ns), ("sent_p", sent_ns))}
        figures |= {name: law_p(each, law, rate_hz / cameras) for name, each in gaps.items()}
    return figures


def accounted(child: Child, pace: Figures) -> Figures:
    """Set what ours say of themselves beside the pace of what was sent, which knows nothing of frames that were not.

    The rate is off by whichever is further off. Locust's users have no schedule, and say nothing.
    """
    told = [line for line in child.log.read_text(errors="replace").splitlines() if line.startswith("{")]
    if not told:
        return {}
    account = json.loads(told[-1])
    scheduled, sent = account["scheduled"], account["sent"]
    off_share = max(pace["off_share"], sent / scheduled - 1, key=abs)
    return {"scheduled": scheduled, "sent": sent, "bottleneck": float(account["bottleneck"]), "off_share": off_share}


def _spent(family: Family) -> tuple[float, float]:
    """Give CPU seconds so far, and the largest memory seen."""
    found = family.spent()
    return found["cpu_s"], found["memory_bytes"]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def kept(
    sender: Numbers, number: Numbers, due_ns: Numbers, sent_ns: Numbers, *, cameras: int, rate_hz: float
) -> Figures:
    """Say how well a rate was kept, by the senders' stamps: each one's frames from its second to its last.

    Locust has no schedule: of each of its users it is the one that its earliest frame, for its number, is on time by.
    """
    each_hz = rate_hz / cameras
    starts = np.flatnonzero(np.diff(sender, prepend=-1))
    counts = np.diff(starts, append=len(sender))
    if (due_ns == UNKNOWN).any():
        after_ns = np.rint(number / each_hz * SECOND_NS).astype(np.int64)
        due_ns = np.minimum.reduceat(sent_ns - after_ns, starts).repeat(counts) + after_ns
    late_ms = (sent_ns - due_ns) / MILLISECOND_NS
    some = counts > 2
    first, last = starts[some] + 1, (starts + counts - 1)[some]
    spans_s = (sent_ns[last] - sent_ns[first]) / SECOND_NS
    found_hz = ((number[last] - number[first]) / spans_s).mean() * len(counts) if some.any() else np.nan
    p50, p99 = np.percentile(late_ms, [50, 99], method="inverted_cdf")
    return {
        "frames": len(sent_ns),
        "rate_hz": float(found_hz),
        "off_share": float(found_hz / rate_hz - 1),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
    }


def gaps_s(sender: Numbers, moments_ns: Numbers) -> NDArray[np.float64]:
    """Give the gaps between each sender's frames, all together."""
    gaps: NDArray[np.float64] = np.diff(moments_ns)[np.diff(sender) == 0] / SECOND_NS
    return gaps


def law_p(gaps: NDArray[np.float64], law: Law, rate_hz: float) -> float:
    """Give the probability of gaps as far from a law as these."""
    return kolmogorov_smirnov(gaps, lambda one: law(np.maximum(one, 0), rate_hz))


def highest_hz(place: Place, start: Start, *, for_s: float) -> float:
    """Give the highest rate of the ladder that was kept for so long; 0 if none was."""
    best = 0.0
    for rate_hz in LADDER_HZ:
        found = measured(place, start, cameras=SIDE_CAMERAS, rate_hz=rate_hz, for_s=for_s)
        if abs(found["off_share"]) > WITHIN:
            break
        best = rate_hz
    return best


def ceiling(place: Place, *, cameras: int) -> Figures:
    """Give what the cameras can send with nobody behind them, and how busy that nobody was."""
    command = [sys.executable, "-m", "edgewise", "fleet", "--ceiling", "--cameras", str(cameras), "--format", "json"]
    told = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, place.cores),
    )
    account = json.loads(told.stdout)
    return {name: float(account[name]) for name in ("ceiling_hz", "sink_busy_share")}


def locust_in(folder: Path) -> Path:
    """Make a virtual environment with Locust; give its Python.

    Raises:
        OSError, subprocess.SubprocessError: it cannot be had.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *LOCUST]
    subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S, text=True)
    return python


def run(folder: Path, *, cases: Sequence[str], cameras: int, for_s: float) -> tuple[Cases, dict[str, str]]:
    """Start the brokers on the first core, measure the cases on the last; give figures, and why some are not there."""
    every = sorted(os.sched_getaffinity(0))
    missing: dict[str, str] = {}
    if "cameras" in cases:
        try:
            open_files.have(cameras, cameras=cameras)  # the broker inherits it
        except EdgewiseError as error:
            missing["cameras"] = str(error)
    os.sched_setaffinity(0, every[:1])
    place = Place(folder, embedded_mqtt(folder / "fleet-mqtt"), embedded_kafka(folder / "fleet-kafka"), every[-1:])
    found: Cases = {}
    try:
        place.kafka.launch()
        place.mqtt.start()
        place.kafka.await_answer()
        if "cameras" in cases and "cameras" not in missing:
            say(f"fleet: {cameras:,} cameras at 0.1 Hz for {for_s:g} s ...")
            many = place.ours(cameras=cameras)
            found["cameras"] = measured(place, many, cameras=cameras, rate_hz=cameras * 0.1, for_s=for_s)
            found["cameras"] |= {"asked": cameras}
        if "raw" in cases:
            say(f"fleet: {RAW_HZ:,} frames/s for {for_s:g} s, then the ceiling ...")
            few = place.ours(cameras=SIDE_CAMERAS, arrival="poisson")
            found["raw"] = measured(place, few, cameras=SIDE_CAMERAS, rate_hz=RAW_HZ, for_s=for_s)
            found["raw"] |= ceiling(place, cameras=SIDE_CAMERAS)
        if "gaps" in cases:
            say(f"fleet: the gaps of {len(LAWS)} patterns at {', '.join(map(str, GAPS_HZ))} frames/s ...")
            _gaps(place, found, for_s=min(for_s, GAPS_S))
        if "locust" in cases:
            say(f"fleet: {SIDE_HZ} frames/s for {for_s:g} s, and the highest rate, ours and Locust's ...")
            _side_by_side(place, found, missing, for_s=for_s)
    finally:
        place.mqtt.stop()
        place.kafka.stop()
        os.sched_setaffinity(0, every)
    return found, missing


def _gaps(place: Place, found: Cases, *, for_s: float) -> None:
    for pattern, law in LAWS.items():
        start = place.ours(cameras=GAPS_CAMERAS, arrival=pattern)
        for rate_hz in GAPS_HZ:
            told = measured(place, start, cameras=GAPS_CAMERAS, rate_hz=rate_hz, for_s=for_s, law=law)
            found[f"gaps, {pattern}, {rate_hz}"] = told | {"asked_hz": rate_hz}


def _side_by_side(place: Place, found: Cases, missing: dict[str, str], *, for_s: float) -> None:
    tools = {"ours": place.ours(cameras=SIDE_CAMERAS)}
    try:
        tools["locust"] = place.locusts(locust_in(place.folder / "locust"), cameras=SIDE_CAMERAS)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        missing["locust"] = f"Locust cannot be installed: {said[-1] if said else type(error).__name__}"
    for tool, start in tools.items():
        found[tool] = measured(place, start, cameras=SIDE_CAMERAS, rate_hz=SIDE_HZ, for_s=for_s)
        found[tool]["highest_hz"] = highest_hz(place, start, for_s=min(for_s, LADDER_S))


def aims(found: Cases) -> Iterator[tuple[str, str, str, str]]:
    """Give what the design asks for: case, what, found, aim."""
    if many := found.get("cameras"):
        case = f"{many['asked']:,.0f} cameras, own connections, 0.1 Hz"
        yield case, "connected", f"{many['connected']:,.0f}", f"{many['asked']:,.0f}"
        yield from _held(case, many)
        yield case, "CPU, cores", f"{many['cores']:.2f}", "< 1"
        yield case, "memory, MB", f"{many['memory_mb']:,.0f}", "< 1,000"
        yield case, "CPU of the broker, cores", f"{many['broker_cores']:.2f}", "reported"
        yield case, "memory of the broker, MB", f"{many['broker_memory_mb']:,.0f}", "reported"
    if raw := found.get("raw"):
        case = f"{RAW_HZ:,} frames/s raw, Poisson, one process"
        yield from _held(case, raw)
        yield case, "CPU, cores", f"{raw['cores']:.2f}", "reported"
        yield case, "memory, MB", f"{raw['memory_mb']:,.0f}", "reported"
        yield case, "CPU of the broker, cores", f"{raw['broker_cores']:.2f}", "reported"
        yield case, "memory of the broker, MB", f"{raw['broker_memory_mb']:,.0f}", "reported"
        yield case, "ceiling, frames/s", f"{raw['ceiling_hz']:,.0f}", "reported"
        yield case, "the null sink worked, % of the time", f"{raw['sink_busy_share'] * 100:.0f}", "< 90"


def _held(case: str, found: Figures) -> Iterator[tuple[str, str, str, str]]:
    yield case, "frames sent of those scheduled", f"{found['sent']:,.0f} of {found['scheduled']:,.0f}", "all"
    yield case, "rate off by, %", f"{found['off_share'] * 100:+.2f}", f"{WITHIN * 100:.0f}"
    yield case, "99 % left within, ms", f"{found['p99_ms']:.2f}", "5"


BESIDE: Final = (
    ("frames/s kept", "rate_hz", 0, "as asked"),
    ("CPU s for 1,000 frames", "cpu_s_per_1000", 3, "less"),
    ("50 % left within, ms", "p50_ms", 2, "less"),
    ("99 % left within, ms", "p99_ms", 2, "less"),
    ("memory, MB", "memory_mb", 0, "reported"),
    ("CPU of the broker, cores", "broker_cores", 2, "reported"),
    ("highest rate kept, frames/s", "highest_hz", 0, "more"),
)
"""What is set beside Locust's: name, figure, digits, aim."""


def show(found: Cases, missing: Mapping[str, str], *, console: Console) -> None:
    """Print the tables."""
    table = Table("case", "figure", "found", "aim", title="The cameras", title_justify="left")
    for row in aims(found):
        table.add_row(*row)
    if "cameras" in missing:
        table.add_row("many cameras", "all", "n/a", missing["cameras"])
    if table.row_count:
        console.print(table)
    gaps = [(case.split(", ")[1], one) for case, one in found.items() if case.startswith("gaps, ")]
    if gaps:
        title = "Gaps beside the asked distribution: p of Kolmogorov and Smirnov"
        columns = ("pattern", "frames/s", "frames", "as scheduled (> 0.01)", "as sent")
        table = Table(*columns, title=title, title_justify="left")
        for pattern, one in gaps:
            ps = (f"{one[name]:.3f}" for name in ("due_p", "sent_p"))
            table.add_row(pattern, f"{one['asked_hz']:,.0f}", f"{one['frames']:,.0f}", *ps)
        console.print(table)
    if "ours" not in found:
        return
    title = f"{SIDE_HZ} frames/s of {SIDE_CAMERAS} cameras, QoS 1, beside Locust's MQTT user"
    table = Table("figure", "ours", "Locust", "aim", title=title, title_justify="left")
    for name, figure, digits, aim in BESIDE:
        both = (found.get(tool) for tool in ("ours", "locust"))
        cells = ("n/a" if one is None else f"{one[figure]:,.{digits}f}" for one in both)
        table.add_row(name, *cells, aim)
    console.print(table)
    if "locust" in missing:
        console.print(f"n/a: {missing['locust']}")
