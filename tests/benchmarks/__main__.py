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
from pathlib import Path
from typing import Final

import mqtt5
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import topics
from edgewise.clock import SystemClock
from edgewise.mqtt.connection import Connection
from edgewise.mqtt.inbox import ALL_FRAMES
from tests.benchmarks import cluster
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


def measured(case: str, mqtt: str, kafka: str, *, frames: int, cores: set[int]) -> dict[str, float]:
    """Run one case in a process of its own, on these cores."""
    command = [sys.executable, "-m", "tests.benchmarks.cases", case, mqtt, kafka, str(frames)]
    told = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
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


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--frames", type=int, default=20_000, help="for each bridge case")
    parser.add_argument("--gateway-frames", type=int, default=6_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", choices=("edge", "cluster"), help="leave out the other")
    parser.add_argument("--cluster-frames", type=int, default=18_000, help="for each throughput of the cluster")
    parser.add_argument("--engines", default=",".join(cluster.ENGINES), help="of the cluster, with commas")
    parser.add_argument("--warm-s", type=float, default=60, help="before a latency counts")
    parser.add_argument("--for-s", type=float, default=60, help="for so long it counts")
    asked = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="edgewise-bench-") as folder:
        place, engines = Path(folder), asked.engines.split(",")
        if asked.only != "cluster":
            figures = run(place, frames=asked.frames, gateway_frames=asked.gateway_frames, repeats=asked.repeats)
            show(figures)
        if asked.only != "edge":
            found = cluster.run(
                place,
                frames=asked.cluster_frames,
                repeats=asked.repeats,
                engines=engines,
                warm_s=asked.warm_s,
                for_s=asked.for_s,
            )
            cluster.show(found, engines, console=Console(width=110 if not sys.stdout.isatty() else None))
            figures |= found
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
