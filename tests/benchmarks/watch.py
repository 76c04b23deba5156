"""What looking costs: the watcher's share of a core, and what a bridge and a gateway do with and without one.

For the share, real cameras send a thousand frames a second over MQTT, a bridge carries them to Kafka
and a gateway answers them: the watcher reads both, as ``edgewise watch`` on a terminal and as a page
that one browser reads. For the rates, the same frames wait in the sessions of a bridge and of a
gateway, which begin together.
"""

import os
import statistics
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import track
from rich.table import Table

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import account, addresses, dataset, kafka, processes, topics
from edgewise.account import Plan
from edgewise.clock import SECOND_NS, Deadline, SystemClock
from edgewise.family import Family
from edgewise.messages import Codec
from edgewise.parts import say
from edgewise.processes import Child

CLOCK: Final = SystemClock()
RUN: Final = "bench"
RATE_HZ: Final = 1000
CAMERAS: Final = 100
WARM_S: Final = 10.0
START_S: Final = 120.0
VIEWS: Final = ("terminal", "page")
PARTS: Final = ("bridge", "gateway")
SHARE_MOST: Final = 0.10
RATE_LEAST: Final = 0.98
DRAWN: Final = {"FORCE_COLOR": "1", "LINES": "40", "COLUMNS": "110"}
"""So that the terminal's view is drawn, though nobody sits there."""
Values = dict[str, dict[str, list[float]]]
Figures = dict[str, dict[str, float]]
Rates = Callable[[Broker, Broker], Mapping[str, float]]
"""Give the rates of a bridge and a gateway, by part, over frames that wait for both."""


def plan(kafka_address: str, *, frames: int) -> None:
    """Plan the run that the waiting frames belong to."""
    split = dataset.load("test", say=say)
    entry = Plan(
        run=RUN,
        fleet=RUN,
        start_ns=CLOCK.now_ns(),
        seed=1,
        cameras=1,
        rate_hz=RATE_HZ,
        frames=frames,
        dataset=dataset.NAME,
        split="test",
        images=len(split.images),
        dataset_sha256=split.sha256,
        codec=Codec.RAW,
        drop_after_s=60,
        version="",
    )
    producer = kafka.producer(kafka_address)
    producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=0)
    producer.close(within_s=20)


def part(name: str, folder: Path, *arguments: str, env: Mapping[str, str] | None = None) -> Child:
    """Start a part by its own command."""
    command = [sys.executable, "-m", "edgewise", name, *arguments]
    return processes.start(command, name=name, log=folder / f"watch-{name}.log", env={**os.environ, **(env or {})})


def await_said(child: Child, words: str) -> None:
    """Wait until a part says something, from now on."""
    until = Deadline(CLOCK, within_s=START_S)
    while words not in child.log.read_text(errors="replace") and not until.passed() and child.running():
        until.pause(for_s=0.1)
    if until.passed() or not child.running():
        raise SystemExit(f"the {child.name} did not start:\n{child.tail(lines=20)}")


@contextmanager
def load(mqtt: str, kafka_address: str, folder: Path, *, run: str, for_s: float) -> Iterator[None]:
    """Have cameras send, a bridge carry and a gateway answer, from the first frame on."""
    to = ("--mqtt", mqtt, "--kafka", kafka_address, "--run", run)
    paced = ("--cameras", str(CAMERAS), "--rate-hz", str(RATE_HZ / CAMERAS), "--duration-s", str(for_s))
    children = [
        part("bridge", folder, *to, "--end-session"),
        part("gateway", folder, *to, "--engine", "onnx", "--threads", "1", "--end-session"),
        part("fleet", folder, *to, *paced, "--wait-for", "bridge,gateway", "--wait-s", str(START_S)),
    ]
    try:
        with closing(kafka.looker(kafka_address, topics=[topics.RESULTS], from_end=True)) as results:
            until = Deadline(CLOCK, within_s=START_S)
            while not results.lag() and not until.passed() and all(child.running() for child in children):
                until.pause(for_s=0.2)
            if not results.lag():
                raise SystemExit("\n".join(child.tail(lines=20) for child in children))
        yield
    finally:
        processes.stop_all(children[::-1], within_s=20)
        for child in children:
            child.log.unlink()


@contextmanager
def watching(view: str, kafka_address: str, folder: Path) -> Iterator[Child]:
    """Run a watcher; one browser's worth of questions comes to its page every second."""
    port = addresses.free_port()
    options = ("--web", "--port", str(port)) if view == "page" else ()
    child = part("watch", folder, "--kafka", kafka_address, *options, env=DRAWN)
    ended = threading.Event()
    try:
        if view == "page":
            await_said(child, "watch: http")
            threading.Thread(target=_read, args=(port, ended), daemon=True).start()
        else:
            await_said(child, "RUNNING")
        yield child
    finally:
        ended.set()
        child.stop(within_s=20)
        child.log.unlink()


def _read(port: int, ended: threading.Event) -> None:
    """Ask as the page does: listen to the looks, and ask for a page of the wall after each."""
    stream = HTTPConnection("127.0.0.1", port, timeout=30)
    stream.request("GET", "/events")
    looks = stream.getresponse()
    while not ended.is_set() and (line := looks.readline()):
        if line.startswith(b"data: "):
            wall = HTTPConnection("127.0.0.1", port, timeout=30)
            wall.request("GET", "/wall?count=24")
            wall.getresponse().read()
            wall.close()


def share(view: str, kafka_address: str, folder: Path, *, for_s: float) -> Mapping[str, float]:
    """Give the share of a core that a watcher takes under the load, and what there was to be read meanwhile."""
    with ExitStack() as until:
        child = until.enter_context(watching(view, kafka_address, folder))
        Deadline(CLOCK, within_s=WARM_S).pause(for_s=WARM_S)
        ends = {
            topic: until.enter_context(closing(kafka.looker(kafka_address, topics=[topic], from_end=True)))
            for topic in (topics.FRAMES, topics.RESULTS)
        }
        before_s, began_ns = Family(child.pid).spent()["cpu_s"], CLOCK.ticks_ns()
        Deadline(CLOCK, within_s=for_s).pause(for_s=for_s)
        spent_s = Family(child.pid).spent()["cpu_s"] - before_s
        wall_s = (CLOCK.ticks_ns() - began_ns) / SECOND_NS
        found_hz = {f"{topic}_hz": looker.lag() / wall_s for topic, looker in ends.items()}
        return {"core_share": spent_s / wall_s, **found_hz}


def run(folder: Path, rates: Rates, *, frames: int, repeats: int, for_s: float) -> Values:
    """Measure both views under the load, and bridge and gateway with and without a watcher, in alternating order."""
    mqtt, log = embedded_mqtt(folder / "watch-mqtt"), embedded_kafka(folder / "watch-kafka")
    found: Values = defaultdict(lambda: defaultdict(list))

    def keep(case: str, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            found[case][name].append(value)

    try:
        log.launch()
        mqtt.start()
        log.await_answer()
        topics.ensure(log.address)
        for repeat in track(range(repeats), "repeats", console=Console(file=sys.stderr)):
            for view in VIEWS:
                lasts_s = START_S / 2 + WARM_S + for_s
                with load(mqtt.address, log.address, folder, run=f"{RUN}-{view}-{repeat}", for_s=lasts_s):
                    keep(f"watch, {view}", share(view, log.address, folder, for_s=for_s))
            if repeat == 0:
                rates(mqtt, log)  # the first to come finds everything cold
            for watched in (False, True) if repeat % 2 == 0 else (True, False):
                plan(log.address, frames=frames)
                if watched:
                    with watching("page", log.address, folder):
                        keep("watched", rates(mqtt, log))
                else:
                    keep("alone", rates(mqtt, log))
    finally:
        mqtt.stop()
        log.stop()
    return found


def medians(found: Values) -> Figures:
    """Give each figure's median, and of the rates with and without a watcher their ratios."""
    figures = {
        case: {name: statistics.median(values) for name, values in costs.items()} for case, costs in found.items()
    }
    pairs = {
        name: [one / other for one, other in zip(found["watched"][name], found["alone"][name], strict=True)]
        for name in PARTS
    }
    figures["watched / alone"] = {name: statistics.median(ratios) for name, ratios in pairs.items()}
    figures["watched / alone"] |= {f"{name}_least": min(ratios) for name, ratios in pairs.items()}
    figures["watched / alone"] |= {f"{name}_most": max(ratios) for name, ratios in pairs.items()}
    return figures


def show(figures: Figures, *, console: Console) -> None:
    """Print the table: what was found beside what is aimed at."""
    table = Table("figure", "found", "aim", title="Watching", title_justify="left")
    for view in VIEWS:
        costs = figures[f"watch, {view}"]
        at = f"{costs['frames_hz']:,.0f} frames/s and {costs['results_hz']:,.0f} results/s"
        table.add_row(f"share of a core, {view}, at {at}", f"{costs['core_share']:.3f}", f"< {SHARE_MOST:.2f}")
    ratios = figures["watched / alone"]
    for name in PARTS:
        spread = f"{ratios[f'{name}_least']:.3f} to {ratios[f'{name}_most']:.3f}"
        alone_hz = figures["alone"][name]
        what = f"rate of the {name}, watched / alone ({alone_hz:,.0f}/s), median of pairs from {spread}"
        table.add_row(what, f"{ratios[name]:.3f}", f">= {RATE_LEAST:.2f}")
    console.print(table)
    for view in VIEWS:
        if figures[f"watch, {view}"]["frames_hz"] < RATE_LEAST * RATE_HZ:
            console.print(f"The load was less than {RATE_HZ:,} frames/s: this machine was too slow for it.")
            break
