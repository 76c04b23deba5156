"""The cluster beside the bare engines that it runs, and beside a stream that classifies nothing.

Each case starts ``edgewise cluster`` as a user would, over frames that wait in Kafka (throughput)
or that come on schedule (latency), and reads the results as they come. A driver is warm when
the first frames are done: they do not count.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brokers.kafka.embedded import kafka as embedded_kafka
from edgewise import dataset, kafka, processes, topics
from edgewise.clock import MILLISECOND_NS, SECOND_NS, Deadline, SystemClock
from edgewise.family import Family
from edgewise.messages import decode_result
from edgewise.parts import say
from edgewise.processes import Child
from tests.benchmarks.cases import wire

CLOCK: Final = SystemClock()
ENGINES: Final = ("bigdl", "onnx", "openvino", "keras")
READY: Final = "cluster: ready"
START_S: Final = 240.0
BATCH_MAX: Final = 4000
CAMERAS: Final = 64
"""So many names spread well over four partitions."""
LATENCY_CELLS: Final = (("rate_hz", 0), ("p50_ms", 0), ("p99_ms", 0), ("cores", 2), ("idle_cores", 2))
Figures = dict[str, float]
Cases = dict[str, Figures]
"""Figures by the name of their case."""


@dataclass
class Case:
    """One cluster to be started."""

    engine: str
    tasks: int
    cores: Sequence[int]
    options: Sequence[str] = field(default=())

    @property
    def name(self) -> str:
        """What the tables call it."""
        return f"cluster, {self.engine}, {self.tasks} task{'s' * (self.tasks > 1)}"


@contextmanager
def cluster(case: Case, address: str, *, folder: Path, start: str) -> Iterator[Child]:
    """Run a cluster on its cores; stop it afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        options = ["--master", f"local[{case.tasks}]", "--engine", case.engine, "--tasks", str(case.tasks)]
        kept = ["--checkpoint", f"{scratch}/checkpoint", "--start", start, "--kafka", address]
        log = Path(scratch) / "cluster.log"
        # A process of its own sets its cores before anything is started: a Java counts them once.
        pinned = f"import os, sys; os.sched_setaffinity(0, {set(case.cores)}); os.execv(sys.argv[1], sys.argv[1:])"
        command = [sys.executable, "-m", "edgewise", "cluster", *options, *kept, *case.options]
        child = processes.start([sys.executable, "-c", pinned, *command], name=case.name, log=log)
        try:
            until = Deadline(CLOCK, within_s=START_S)
            while READY not in log.read_text(errors="replace"):
                if until.passed() or not child.running():
                    raise SystemExit(f"{case.name} did not start:\n{child.tail(lines=20)}")
                until.pause(for_s=0.1)
            yield child
        finally:
            child.stop(within_s=30)


def spent(child: Child) -> float:
    """CPU seconds so far of a child and all that it started."""
    return Family(child.pid).spent()["cpu_s"]


def load(address: str, *, frames: int) -> None:
    """Put frames into Kafka, from as many cameras as spread well over the partitions."""
    images = dataset.load("test", say=say).images
    producer = kafka.producer(address)
    stored = 0
    for number in range(frames):
        camera = f"bench-{number % CAMERAS}"
        producer.send(topics.FRAMES, key=camera, value=wire(number, images, camera=camera), receipt=number)
        stored += len(producer.stored())
    producer.close(within_s=60)


def throughput(case: Case, address: str, *, folder: Path, frames: int, skip: int) -> Figures:
    """Give frames a second and CPU a frame, after the first ``skip`` of all the frames that wait."""
    results = kafka.consumer(address, topics=[topics.RESULTS], from_end=True)
    seen, began = 0, (0, 0.0, 0)
    try:
        with cluster(case, address, folder=folder, start="earliest") as child:
            until = Deadline(CLOCK, within_s=START_S)
            while seen < frames:
                if until.passed() or not child.running():
                    raise SystemExit(f"{case.name} gave {seen} of {frames} results:\n{child.tail(lines=20)}")
                seen += len(results.take(limit=4000, wait_s=0.05))
                if seen >= skip and not began[0]:
                    began = seen, spent(child), CLOCK.ticks_ns()
            wall_s, cpu_s = (CLOCK.ticks_ns() - began[2]) / SECOND_NS, spent(child) - began[1]
    finally:
        results.close()
    return {"rate_hz": (seen - began[0]) / wall_s, "cpu_us": cpu_s / (seen - began[0]) * 1e6}


def latency(case: Case, address: str, *, folder: Path, rate_hz: float, warm_s: float, for_s: float) -> Figures:
    """Give percentiles from due to seen, in ms, the cores used, and the cores used before any frame comes."""
    results = kafka.consumer(address, topics=[topics.RESULTS], from_end=True)
    with cluster(case, address, folder=folder, start="latest") as child:
        settled = Deadline(CLOCK, within_s=10)
        settled.pause(for_s=10)
        idle = _cores_used(child, for_s=20)
        feeder = threading.Thread(target=_feed, args=(address, rate_hz, warm_s + for_s), daemon=True)
        feeder.start()
        counted_from_ns = CLOCK.now_ns() + round(warm_s * SECOND_NS)
        found_ms: list[float] = []
        busy_from, ends = (0.0, 0), Deadline(CLOCK, within_s=warm_s + for_s + 5)
        while not ends.passed():
            for record in results.take(limit=1000, wait_s=0.01):
                result, now_ns = decode_result(record.value), CLOCK.now_ns()
                if result.due_ns >= counted_from_ns:
                    found_ms.append((now_ns - result.due_ns) / MILLISECOND_NS)
            if not busy_from[1] and CLOCK.now_ns() >= counted_from_ns:
                busy_from = spent(child), CLOCK.ticks_ns()
        cores = (spent(child) - busy_from[0]) / ((CLOCK.ticks_ns() - busy_from[1]) / SECOND_NS)
        feeder.join()
    results.close()
    p50, p99 = np.percentile(found_ms, [50, 99], method="inverted_cdf")
    return {
        "p50_ms": p50,
        "p99_ms": p99,
        "samples": len(found_ms),
        "cores": cores,
        "idle_cores": idle,
        "rate_hz": rate_hz,
    }


def _cores_used(child: Child, *, for_s: float) -> float:
    before, began_ns = spent(child), CLOCK.ticks_ns()
    Deadline(CLOCK, within_s=for_s).pause(for_s=for_s)
    return (spent(child) - before) / ((CLOCK.ticks_ns() - began_ns) / SECOND_NS)


def _feed(address: str, rate_hz: float, for_s: float) -> None:
    """Send frames on a schedule that never moves; they say when they were due."""
    images = dataset.load("test", say=say).images
    producer = kafka.producer(address)
    began_ns = CLOCK.ticks_ns()
    for number in range(round(rate_hz * for_s)):
        CLOCK.sleep_until(began_ns + round(number / rate_hz * SECOND_NS))
        camera = f"bench-{number % CAMERAS}"
        producer.send(topics.FRAMES, key=camera, value=wire(number, images, camera=camera), receipt=number)
        producer.stored()
    producer.close(within_s=20)


def bare(engine: str, *, tasks: int, cores: Sequence[int]) -> Figures:
    """Give the bare engine's rate on the same cores: one process a task, one thread each; BigDL by its own predict."""
    module = "tests.benchmarks.bare_bigdl" if engine == "bigdl" else "tests.benchmarks.bare"
    command = [sys.executable, "-m", module, engine, str(tasks)]
    told = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, set(cores)),
    )
    found: Figures = json.loads(told.stdout.splitlines()[-1])
    return found


LEAST: Final = {"bigdl": 0.50, "onnx": 0.75, "openvino": 0.75, "keras": 0.80}
"""Share of the bare engine that the design asks for."""
LOAD: Final = 0.3


def run(folder: Path, *, frames: int, repeats: int, engines: Sequence[str], warm_s: float, for_s: float) -> Cases:
    """Start Kafka on the first core, measure every case in turn, give medians."""
    every = sorted(os.sched_getaffinity(0))
    log = embedded_kafka(folder / "kafka")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        os.sched_setaffinity(0, every[:1])  # Kafka inherits it; each case sets its own
        log.start()
        os.sched_setaffinity(0, every)
        topics.ensure(log.address)
        load(log.address, frames=frames)
        for _ in track(range(repeats), "repeats", console=Console(file=sys.stderr)):
            for name, figures in _throughputs(log.address, folder, frames=frames, cores=every, engines=engines):
                for what, value in figures.items():
                    found[name][what].append(value)
        for engine in ("none", *engines):
            # The floor hardly depends on the rate: one for all, at the first engine's.
            able = Case(engines[0] if engine == "none" else engine, 1, ())
            rate_hz = LOAD * statistics.median(found[able.name]["rate_hz"])
            case = Case(engine, max(1, len(every) - 1), every)
            figures = latency(case, log.address, folder=folder, rate_hz=rate_hz, warm_s=warm_s, for_s=for_s)
            for what, value in figures.items():
                found[f"latency, {engine}"][what].append(value)
    finally:
        log.stop()
    return {case: {what: statistics.median(values) for what, values in costs.items()} for case, costs in found.items()}


def _throughputs(
    address: str, folder: Path, *, frames: int, cores: Sequence[int], engines: Sequence[str]
) -> Iterator[tuple[str, Figures]]:
    for tasks in sorted({1, min(2, len(cores))}):
        mine = cores[-tasks:]
        for engine in (*engines, "none"):
            if engine != "none":
                yield f"bare {engine}, {tasks}", bare(engine, tasks=tasks, cores=mine)
            case = Case(engine, tasks, mine, ("--batch-max", str(BATCH_MAX), "--trigger-ms", "0"))
            yield case.name, throughput(case, address, folder=folder, frames=frames, skip=frames // 3)


def ratios(figures: Cases, engines: Sequence[str]) -> Iterator[tuple[str, float, str]]:
    """Give what the design asks for: name, ratio, target."""
    for engine in engines:
        one, two = (figures.get(Case(engine, tasks, ()).name, {}) for tasks in (1, 2))
        for tasks, mine in ((1, one), (2, two)):
            if mine:
                share = mine["rate_hz"] / figures[f"bare {engine}, {tasks}"]["rate_hz"]
                yield f"cluster / bare {engine}, {tasks} on as many cores, rate", share, f">= {LEAST[engine]:.2f}"
        if two:
            yield f"{engine}, 2 tasks / 1 task, rate", two["rate_hz"] / one["rate_hz"], ">= 1.5"
            yield f"{engine}, 2 tasks / 1 task, CPU a frame", two["cpu_us"] / one["cpu_us"], "<= 1.15"
        mine, floor = figures[f"latency, {engine}"], figures["latency, none"]
        yield f"p50 at 30 % load with {engine} / with no engine", mine["p50_ms"] / floor["p50_ms"], "<= 2"
        yield f"cores used by an idle cluster with {engine}", mine["idle_cores"], "< 0.10"


def show(figures: Cases, engines: Sequence[str], *, console: Console) -> None:
    """Print the tables."""
    table = Table("case", "CPU us/frame", "frames/s", title="The cluster: medians", title_justify="left")
    for case, costs in figures.items():
        if "cpu_us" in costs:
            table.add_row(case, f"{costs['cpu_us']:,.0f}", f"{costs['rate_hz']:,.0f}")
    console.print(table)
    table = Table("case", "frames/s", "p50 ms", "p99 ms", "cores busy", "cores idle", title_justify="left")
    table.title = "From due to seen, at 30 % of what one task with the engine can do"
    for case, costs in figures.items():
        if "p50_ms" in costs:
            cells = (f"{costs[what]:,.{digits}f}" for what, digits in LATENCY_CELLS)
            table.add_row(case, *cells)
    console.print(table)
    table = Table("ratio", "found", "target", title="Side by side", title_justify="left")
    for name, ratio, target in ratios(figures, engines):
        table.add_row(name, f"{ratio:.2f}", target)
    console.print(table)
