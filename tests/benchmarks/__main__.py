"""``make bench``: our parts beside the bare engines and clients that they are made of, as ratios.

Each case runs in a process of its own, over work that waits for it, in alternating order,
three times; the table shows medians. An absolute figure means nothing without its neighbour.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final

import mqtt5
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import topics
from edgewise.clock import SystemClock
from edgewise.mqtt.connection import Connection
from edgewise.mqtt.inbox import ALL_FRAMES
from edgewise.options import METRICS_PORT
from tests.benchmarks import cluster, endpoints, fleet, ledger, metrics, watch
from tests.benchmarks.cases import WINDOW

BRIDGE_CASES: Final = (
    "paho subscribe",
    "produce, confluent",
    "bridge, confluent",
    "produce, kafka-python",
    "bridge, kafka-python",
)
READERS: Final = ("bench-paho", "bench-bridge-confluent", "bench-bridge-kafka-python")
CLOCK: Final = SystemClock()
DRAINED_TIMES: Final = 5
"""As many frames as in another case wait for a part that is scraped: for seconds, in which it is."""
Figures = dict[str, dict[str, float]]


def subscribed(address: str, client_id: str) -> None:
    """Leave a session behind that collects frames for this client id."""
    hello = mqtt5.ConnectPacket(client_id, clean_start=False, session_expiry_interval=3600, receive_max=WINDOW)
    connection = Connection(address, hello=hello, clock=CLOCK)
    once = mqtt5.TopicFilter(ALL_FRAMES, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
    connection.send(mqtt5.SubscribePacket(1, [once]).write())
    connection.wait(wait_s=5)
    connection.receive()
    connection.close()


def measured(case: str, mqtt: str, kafka: str, *, frames: int, cores: set[int], port: int = 0) -> dict[str, float]:
    """Run one case in a process of its own, on these cores; with a port it can be scraped there."""
    command = [sys.executable, "-m", "tests.benchmarks.cases", case, mqtt, kafka, str(frames)]
    told = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env=os.environ | {METRICS_PORT: str(port)},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    found: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
    return found


def run(folder: Path, *, frames: int, gateway_frames: int, repeats: int) -> Figures:
    """Start brokers on the first core, measure every case on the last, give medians."""
    every = sorted(os.sched_getaffinity(0))
    theirs, ours = {every[0]}, {every[-1]}
    os.sched_setaffinity(0, theirs)  # the brokers inherit it
    mqtt, log = embedded_mqtt(folder / "mqtt"), embedded_kafka(folder / "kafka")
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    try:
        log.launch()
        mqtt.start()
        log.await_answer()
        topics.ensure(log.address)
        # Kafka's first thousands of records find it cold, whoever sends them.
        measured("produce, confluent", mqtt.address, log.address, frames=frames, cores=ours)
        for repeat in track(range(repeats), "repeats", console=Console(file=sys.stderr)):
            cases = BRIDGE_CASES if repeat % 2 == 0 else BRIDGE_CASES[::-1]
            for reader in READERS:
                subscribed(mqtt.address, reader)
            measured("publish", mqtt.address, log.address, frames=frames, cores=ours)
            for case in cases:
                for name, value in measured(case, mqtt.address, log.address, frames=frames, cores=ours).items():
                    found[case][name].append(value)
            for reader in READERS:
                forget(mqtt.address, reader)
            subscribed(mqtt.address, "bench-gateway")
            cost = measured("publish", mqtt.address, log.address, frames=gateway_frames, cores=ours)
            for name, value in cost.items():
                found["publish"][name].append(value)
            for name, value in measured(
                "gateway", mqtt.address, log.address, frames=gateway_frames, cores=ours
            ).items():
                found["gateway"][name].append(value)
            forget(mqtt.address, "bench-gateway")
    finally:
        mqtt.stop()
        log.stop()
    return {case: {name: statistics.median(values) for name, values in costs.items()} for case, costs in found.items()}


def rates_together(mqtt: Broker, kafka: Broker, *, frames: int) -> dict[str, float]:
    """Measure the rates of a bridge, and of a gateway on the last core, over frames that wait for both."""
    every = sorted(os.sched_getaffinity(0))
    parts = {"bridge": ("bridge, confluent", set(every)), "gateway": ("gateway, onnx", {every[-1]})}
    readers = ("bench-bridge-confluent", "bench-gateway")
    for reader in readers:
        subscribed(mqtt.address, reader)
    measured("publish", mqtt.address, kafka.address, frames=frames, cores=set(every))
    with ThreadPoolExecutor(len(parts)) as together:
        under_way = {
            name: together.submit(measured, case, mqtt.address, kafka.address, frames=frames, cores=cores)
            for name, (case, cores) in parts.items()
        }
        found = {name: case.result()["rate_hz"] for name, case in under_way.items()}
    for reader in readers:
        forget(mqtt.address, reader)
    return found


def drained(mqtt: Broker, kafka: Broker, part: str, port: int, *, frames: int) -> float:
    """Measure a part's rate on the last core, over frames that wait in its session, while it is scraped or not."""
    case, session = {
        "bridge": ("bridge, confluent", "bench-bridge-confluent"),
        "gateway": ("gateway, instant", "bench-gateway"),
    }[part]
    every = sorted(os.sched_getaffinity(0))
    subscribed(mqtt.address, session)
    measured("publish", mqtt.address, kafka.address, frames=frames, cores=set(every))
    cost = measured(case, mqtt.address, kafka.address, frames=frames, cores={every[-1]}, port=port)
    forget(mqtt.address, session)
    return cost["rate_hz"]


def forget(address: str, client_id: str) -> None:
    """End a session."""
    hello = mqtt5.ConnectPacket(client_id, clean_start=True, session_expiry_interval=0)
    Connection(address, hello=hello, clock=CLOCK).close(end_session=True)


def ratios(figures: Figures) -> list[tuple[str, float, str]]:
    """Give what the design asks for: name, ratio, target."""
    taken = figures["paho subscribe"]["cpu_us"]
    rows = []
    for client in ("confluent", "kafka-python"):
        bare = taken + figures[f"produce, {client}"]["cpu_us"]
        rows.append(
            (
                f"bridge with {client} / (bare paho subscribe + bare produce), CPU",
                figures[f"bridge, {client}"]["cpu_us"] / bare,
                "<= 1.3",
            )
        )
    share = figures["gateway"]["rate_hz"] / figures["gateway"]["bare_rate_hz"]
    rows.append(("gateway over MQTT / bare Keras at its best batch, rate on one core", share, ">= 0.80"))
    return rows


def show(figures: Figures) -> None:
    """Print both tables on stdout."""
    console = Console(width=110 if not sys.stdout.isatty() else None)
    table = Table("case", "CPU us/frame", "frames/s", title="Medians", title_justify="left")
    for case, costs in figures.items():
        table.add_row(case, f"{costs['cpu_us']:,.1f}", f"{costs['rate_hz']:,.0f}")
    table.add_row("bare Keras, best batch", "n/a", f"{figures['gateway']['bare_rate_hz']:,.0f}")
    console.print(table)
    table = Table("ratio", "found", "target", title="Side by side", title_justify="left")
    for name, ratio, target in ratios(figures):
        table.add_row(name, f"{ratio:.2f}", target)
    console.print(table)


def asked() -> argparse.Namespace:
    """Read what is to be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000, help="for each bridge case")
    parser.add_argument("--gateway-frames", type=int, default=6_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", choices=list(KINDS), help="leave out the others")
    parser.add_argument("--cluster-frames", type=int, default=18_000, help="for each throughput of the cluster")
    parser.add_argument("--engines", default=",".join(cluster.ENGINES), help="of the cluster, with commas")
    parser.add_argument("--warm-s", type=float, default=60, help="before a latency counts")
    parser.add_argument("--for-s", type=float, default=60, help="for so long it counts")
    parser.add_argument("--fleet-cases", default=",".join(fleet.CASES), help="of the cameras, with commas")
    parser.add_argument("--fleet-cameras", type=int, default=10_000, help="with connections of their own")
    parser.add_argument("--fleet-s", type=float, default=60, help="for so long cameras send")
    parser.add_argument("--ledger-frames", type=int, default=1_000_000, help="of one run, on both tiers")
    return parser.parse_args()


def of_edge(place: Path, told: argparse.Namespace, _: Console) -> Figures:
    """Measure bridge and gateway beside what they are made of."""
    figures = run(place, frames=told.frames, gateway_frames=told.gateway_frames, repeats=told.repeats)
    show(figures)
    return figures


def of_metrics(place: Path, told: argparse.Namespace, console: Console) -> Figures:
    """Measure what counting and being scraped cost."""
    counted = metrics.run(place, frames=told.frames, repeats=told.repeats)
    metrics.show(counted)
    drain = partial(drained, frames=DRAINED_TIMES * told.frames)
    scraped = endpoints.run(place, drain, repeats=told.repeats, for_s=told.for_s)
    endpoints.show(scraped, console=console)
    return counted | scraped


def of_cluster(place: Path, told: argparse.Namespace, console: Console) -> Figures:
    """Measure the cluster beside its engines."""
    engines, sizes = told.engines.split(","), {"frames": told.cluster_frames, "repeats": told.repeats}
    found = cluster.run(place, engines=engines, warm_s=told.warm_s, for_s=told.for_s, **sizes)
    cluster.show(found, engines, console=console)
    return found


def of_fleet(place: Path, told: argparse.Namespace, console: Console) -> Figures:
    """Measure the cameras."""
    cases = told.fleet_cases.split(",")
    found, missing = fleet.run(place, cases=cases, cameras=told.fleet_cameras, for_s=told.fleet_s)
    fleet.show(found, missing, console=console)
    return {f"fleet, {case}": costs for case, costs in found.items()}


def of_watch(place: Path, told: argparse.Namespace, console: Console) -> Figures:
    """Measure who looks on."""
    rates = partial(rates_together, frames=told.frames)
    seen = watch.medians(watch.run(place, rates, frames=told.frames, repeats=told.repeats, for_s=told.for_s))
    watch.show(seen, console=console)
    return {f"watching, {case}": costs for case, costs in seen.items()}


def of_ledger(place: Path, told: argparse.Namespace, console: Console) -> Figures:
    """Measure what a long run takes to be reported."""
    found = ledger.run(place, frames=told.ledger_frames)
    ledger.show(found, console=console)
    return {"ledger": found}


KINDS: Final[dict[str, Callable[[Path, argparse.Namespace, Console], Figures]]] = {
    "edge": of_edge,
    "metrics": of_metrics,
    "cluster": of_cluster,
    "fleet": of_fleet,
    "watch": of_watch,
    "ledger": of_ledger,
}


def main() -> None:
    """Measure and print."""
    told, console = asked(), Console(width=110 if not sys.stdout.isatty() else None)
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as folder:
        for kind, measure in KINDS.items():
            if told.only in {None, kind}:
                figures |= measure(Path(folder), told, console)
    if told.json:
        told.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
