"""What being scraped costs real parts: their share of a core at a thousand frames a second, and their rate at most.

Both are measured with the endpoints, asked every second as a Prometheus does, and without, in
alternating order. The gateway here has an engine that answers at once, and the cluster has
none: what is not the engine is then as large a share as it can be.
"""

import os
import statistics
import sys
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import addresses, processes, topics
from edgewise.clock import SECOND_NS, Deadline, SystemClock
from edgewise.family import Family
from edgewise.options import METRICS_PORT
from edgewise.processes import Child

CLOCK: Final = SystemClock()
RATE_HZ: Final = 1000
CAMERAS: Final = 100
PARTS: Final = ("fleet", "bridge", "gateway", "cluster", "ledger")
DRAINED: Final = ("bridge", "gateway")
WARM_S: Final = 30.0
START_S: Final = 180.0
SCRAPE_S: Final = 1.0
SHARE_MOST: Final = 0.10
RATE_LEAST: Final = 0.98
Figures = dict[str, dict[str, float]]
Drain = Callable[[Broker, Broker, str, int], float]
"""Give a part's rate over frames that wait for it, scraped at a port or, at 0, not."""


@contextmanager
def scraping(ports: Sequence[int]) -> Iterator[None]:
    """Ask each endpoint every second, as a Prometheus does, from a thread."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(SCRAPE_S):
            for port in ports:
                with (
                    suppress(OSError),  # it starts, or has ended
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer,
                ):
                    answer.read()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def commands(mqtt: str, kafka: str, folder: Path, *, run: str, for_s: float) -> Mapping[str, Sequence[str]]:
    """Give each part's command, but for its endpoint."""
    both, of_run = ("--mqtt", mqtt, "--kafka", kafka), ("--run", run)
    edgewise = (sys.executable, "-m", "edgewise")
    return {
        "ledger": [*edgewise, "ledger", "--kafka", kafka, *of_run, "--tiers", "gateway,cluster", "--out", str(folder)],
        "bridge": [*edgewise, "bridge", *both, *of_run, "--client-id", f"bridge-{run}", "--end-session"],
        "gateway": [sys.executable, "-m", "tests.benchmarks.cases", "gateway, endless", mqtt, kafka, "0"],
        "cluster": [
            *(*edgewise, "cluster", "--kafka", kafka, *of_run, "--engine", "none", "--master", "local[1]"),
            *("--checkpoint", str(folder / "checkpoint"), "--start", "latest"),
        ],
        "fleet": [
            *(*edgewise, "fleet", *both, *of_run, "--cameras", str(CAMERAS), "--rate-hz", str(RATE_HZ / CAMERAS)),
            *("--duration-s", str(for_s), "--wait-for", "bridge,gateway,cluster", "--wait-s", str(START_S)),
        ],
    }


def shares(mqtt: str, kafka: str, folder: Path, *, run: str, scraped: bool, for_s: float) -> dict[str, float]:
    """Give each part's share of a core while a thousand frames a second pass."""
    ports = {part: addresses.free_port() if scraped else 0 for part in PARTS}
    children: dict[str, Child] = {}
    folder.mkdir()
    try:
        for part, command in commands(mqtt, kafka, folder, run=run, for_s=WARM_S + for_s + 5).items():
            env = os.environ | {METRICS_PORT: str(ports[part])}
            children[part] = processes.start(command, name=part, log=folder / f"{part}.log", env=env)
        until = Deadline(CLOCK, within_s=START_S)
        while "fleet: connected" not in children["fleet"].log.read_text():
            if until.passed() or not all(child.running() for child in children.values()):
                tails = "\n".join(f"{part}:\n{child.tail()}" for part, child in children.items())
                raise SystemExit(f"the parts did not start:\n{tails}")
            until.pause(for_s=0.1)
        with scraping([port for port in ports.values() if port]):
            Deadline(CLOCK, within_s=WARM_S).pause(for_s=WARM_S)
            before, began_ns = _spent(children), CLOCK.ticks_ns()
            Deadline(CLOCK, within_s=for_s).pause(for_s=for_s)
            after, took_s = _spent(children), (CLOCK.ticks_ns() - began_ns) / SECOND_NS
        return {part: (after[part] - before[part]) / took_s for part in PARTS}
    finally:
        processes.stop_all(list(children.values()), within_s=20)


def _spent(children: Mapping[str, Child]) -> dict[str, float]:
    return {part: Family(child.pid).spent()["cpu_s"] for part, child in children.items()}


def run(folder: Path, drain: Drain, *, repeats: int, for_s: float) -> Figures:
    """Measure both, with and without, in alternating order; give medians."""
    mqtt, log = embedded_mqtt(folder / "endpoints-mqtt"), embedded_kafka(folder / "endpoints-kafka")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        log.launch()
        mqtt.start()
        log.await_answer()
        topics.ensure(log.address)
        for repeat in track(range(repeats), "repeats", console=Console(file=sys.stderr)):
            for scraped in (False, True) if repeat % 2 == 0 else (True, False):
                name, which = f"endpoints-{repeat}-{scraped}".lower(), "with" if scraped else "without"
                told = shares(mqtt.address, log.address, folder / name, run=name, scraped=scraped, for_s=for_s)
                for part, share in told.items():
                    found[f"endpoint, {part}"][f"{which}_core_share"].append(share)
                for part in DRAINED:
                    port = addresses.free_port() if scraped else 0
                    with scraping([port] if port else []):
                        found[f"endpoint, {part}"][f"{which}_rate_hz"].append(drain(mqtt, log, part, port))
    finally:
        mqtt.stop()
        log.stop()
    return {case: {name: statistics.median(values) for name, values in costs.items()} for case, costs in found.items()}


def show(figures: Figures, *, console: Console) -> None:
    """Print the table."""
    title = f"Endpoints, asked every {SCRAPE_S:g} s"
    table = Table("figure", "without", "with", "found", "target", title=title, title_justify="left")
    for part in PARTS:
        costs = figures[f"endpoint, {part}"]
        without, scraped = costs["without_core_share"], costs["with_core_share"]
        name = f"{part}: share of a core at {RATE_HZ:,} frames/s"
        table.add_row(name, f"{without:.3f}", f"{scraped:.3f}", f"{scraped - without:+.3f}", f"< {SHARE_MOST:.2f}")
    for part in DRAINED:
        costs = figures[f"endpoint, {part}"]
        without, scraped = costs["without_rate_hz"], costs["with_rate_hz"]
        cells = (f"{without:,.0f}", f"{scraped:,.0f}", f"{scraped / without:.3f}", f">= {RATE_LEAST:.2f}")
        table.add_row(f"{part}: frames/s over frames that wait", *cells)
    console.print(table)
