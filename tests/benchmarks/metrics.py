"""What counting for a Prometheus costs a frame, beside the same work without it; and what a scrape costs.

The parts' own classes do their work between doubles that do nothing, so that what differs
between two neighbours is the counting alone.
"""

import statistics
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table

from brokers.bridge.outbox import KafkaOutbox
from consumers.cluster.spark.observed import TAKEN, WRITTEN, Observed
from consumers.cluster.spark.progress import STEPS
from consumers.gateway.model import Classified
from consumers.gateway.write import ResultWriter
from consumers.ledger.collect import Collected
from consumers.ledger.seen import Seen
from edgewise import addresses, topics
from edgewise.account import Plan
from edgewise.arrival import Answer, Answerer, Arrival, opened
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.endpoint import Place, serving
from edgewise.kafka import Header, Record
from edgewise.messages import Codec, Frame, Tier, encode_frame, encode_result
from edgewise.meter import Meter
from edgewise.metrics import LATENESS_SECONDS, Histogram
from producers.camera.camera import Camera
from producers.camera.tally import Tally
from tests.benchmarks.cases import Watch

CLOCK: Final = SystemClock()
BATCHES: Final = (1, 8, 64)
"""Frames that come at once: a part that keeps up has few, one that is busy many."""
FOLDED: Final = 100
"""Results that a ledger counts at once, twice a second."""
MICRO: Final = (12, 200)
"""Of a cluster that keeps up, five micro-batches a second: at 60 frames a second, and at 1,000."""
MOST_US: Final = 2.0
SCRAPES: Final = 50
BY: Final = Answerer(Tier.GATEWAY, "none", "none@0", 1, "bench")
Figures = dict[str, dict[str, float]]


class Nowhere:
    """See ``edgewise.kafka.Producer``; keeps receipts alone."""

    def __init__(self) -> None:
        self._stored: list[int] = []

    def send(self, topic: str, *, key: str, value: bytes, receipt: int, headers: Sequence[Header] = ()) -> None:  # noqa: ARG002
        """See Producer."""
        self._stored.append(receipt)

    def stored(self, *, wait_s: float = 0.0) -> Sequence[int]:  # noqa: ARG002
        """See Producer."""
        stored, self._stored = self._stored, []
        return stored

    def close(self, *, within_s: float) -> Sequence[int]:  # noqa: ARG002
        """See Producer."""
        return self.stored()

    def abandon(self) -> None:
        """See Producer."""


def arrivals(count: int) -> list[Arrival]:
    """Give as many frames as a consumer receives them."""
    pixels = np.random.default_rng(1).integers(0, 256, 32 * 32 * 3, dtype=np.uint8).tobytes()
    now_ns = CLOCK.now_ns()
    frame = Frame(
        run="bench",
        camera="bench-0",
        number=0,
        dataset="cifar10",
        split="test",
        image=0,
        width=32,
        height=32,
        codec=Codec.RAW,
        due_ns=now_ns - 3_000_000,
        sent_ns=now_ns - 2_000_000,
        payload=pixels,
    )
    wire = encode_frame(frame)
    return [Arrival("bench-0", wire, receipt, now_ns, "mqtt cameras/bench-0/frames") for receipt in range(count)]


def bridge(meter: Meter, batch: int, frames: int) -> float:
    """Give microseconds a frame of the bridge's way into Kafka."""
    outbox, waiting = KafkaOutbox(Nowhere(), clock=CLOCK, meter=meter), arrivals(frames)
    watch = Watch()
    for first in range(0, frames, batch):
        outbox.store(waiting[first : first + batch])
        outbox.stored(wait_s=0)
    return watch.cost(frames)["cpu_us"]


def gateway(meter: Meter, batch: int, frames: int) -> float:
    """Give microseconds a frame of what the gateway does beside opening frames and the engine."""
    writer, ns = ResultWriter(Nowhere(), by=BY, clock=CLOCK, meter=meter), CLOCK.now_ns()
    answer = Answer(3, 0.9, ns + 1_000_000, ns + 9_000_000, batch)
    one = opened(arrivals(1)[0], shape=(32, 32, 3))
    waiting = arrivals(batch)
    classified = [Classified(one, answer)] * batch
    watch = Watch()
    for _ in range(0, frames, batch):
        meter.took(waiting)
        meter.classified([each.opened for each in classified], answer)
        writer.store(classified)
        writer.stored(wait_s=0)
    return watch.cost(frames)["cpu_us"]


def ledger(meter: Meter, batch: int, frames: int) -> float:
    """Give microseconds a result of what the ledger does with one, and of telling of it."""
    now_ns = CLOCK.now_ns()
    one = opened(arrivals(1)[0], shape=(32, 32, 3))
    result = one.result(Answer(3, 0.9, now_ns, now_ns, 1), by=BY)
    records = [
        Record(topics.RESULTS, 0, 0, "", encode_result(replace(result, number=number)), (), now_ns)
        for number in range(frames)
    ]
    collected = Collected("bench", caught_up_ns=0)
    seen = Seen(collected, tiers=[Tier.GATEWAY, Tier.CLUSTER]) if meter.on else None
    watch = Watch()
    for first in range(0, frames, batch):
        collected.add(records[first : first + batch], now_ns=now_ns + 9_000_000)
        if seen is not None:
            seen.fold()
    return watch.cost(frames)["cpu_us"]


class Away:
    """A way out that takes everything at once and answers nothing."""

    line: Any = None

    def free(self) -> bool:
        """See ``edgewise.mqtt.outbox.Outbox``."""
        return True

    def connected(self) -> bool:
        """See Outbox."""
        return True

    def in_flight(self) -> int:
        """See Outbox."""
        return 0

    def send(self, number: int, wire: bytes, *, trace: str | None = None) -> None:
        """See Outbox."""

    def receive(self) -> Sequence[Any]:
        """See Outbox."""
        return ()


class Deaf(Histogram):
    """Takes nothing in."""

    def repeat(self, value: int, *, times: int = 1) -> None:
        """See Histogram."""


def fleet(meter: Meter, _: int, frames: int) -> float:
    """Give microseconds a frame of a camera's way out: it counts for its account anyway, how late for scrapes alone."""
    plan = Plan(
        run="bench",
        fleet="bench",
        start_ns=CLOCK.now_ns() - 3600 * SECOND_NS,
        seed=1,
        cameras=1,
        rate_hz=1000,
        frames=frames,
        dataset="cifar10",
        split="test",
        images=10_000,
        dataset_sha256="",
        codec=Codec.RAW,
        drop_after_s=1e6,
        version="",
    )
    pixels = bytes(32 * 32 * 3)
    tally = Tally(lateness=Histogram(LATENESS_SECONDS) if meter.on else Deaf(LATENESS_SECONDS))
    camera = Camera(plan, 0, outbox=Away(), payload=lambda _: pixels, size=(32, 32), tally=tally, clock=CLOCK)
    watch = Watch()
    camera.turn()
    return watch.cost(frames)["cpu_us"]


def cluster(meter: Meter, batch: int, frames: int) -> float:
    """Give microseconds a frame of what the cluster's driver takes down of a micro-batch, by Spark's report of it."""
    observed, steps = Observed(meter), dict.fromkeys(STEPS, 100)
    sums = {TAKEN: {"bytes": 3200 * batch}, WRITTEN: {"results": batch, "bytes": 200 * batch}}
    report = {"numInputRows": batch, "durationMs": steps, "observedMetrics": sums}
    watch = Watch()
    for _ in range(0, frames, batch):
        observed.done(report)
    return watch.cost(frames)["cpu_us"]


PARTS: Final[dict[str, tuple[Sequence[int], Callable[[Meter, int, int], float]]]] = {
    "fleet": ((1,), fleet),
    "bridge": (BATCHES, bridge),
    "gateway": (BATCHES, gateway),
    "cluster": (MICRO, cluster),
    "ledger": ((FOLDED,), ledger),
}
"""Each with its batches, and what it costs."""


def scrape_ms() -> float:
    """Give milliseconds of CPU, the asking too, of one scrape of a part with a bridge's metrics."""
    port = addresses.free_port()
    with serving(Place(port=port), "bridge") as (told, meter):
        told.by(meter.taken_in)
        told.by(lambda: meter.stages("source", "transport", "queue", "inference", "store"))
        watch = Watch()
        for _ in range(SCRAPES):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                answer.read()
        return watch.cost(SCRAPES)["cpu_us"] / 1000


def run(_: Path, *, frames: int, repeats: int) -> Figures:
    """Measure each part with and without, in alternating order; give medians."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for repeat in range(repeats):
        for part, (batches, cost) in PARTS.items():
            for batch in batches:
                for on in (True, False) if repeat % 2 else (False, True):
                    name = f"{part}, batches of {batch}"
                    found[name]["with_us" if on else "without_us"].append(cost(Meter(on=on), batch, frames))
        found["scrape"]["cpu_ms"].append(scrape_ms())
    return {case: {what: statistics.median(values) for what, values in costs.items()} for case, costs in found.items()}


def show(figures: Figures) -> None:
    """Print the table on stdout."""
    console = Console(width=110 if not sys.stdout.isatty() else None)
    title = "Counting for a Prometheus: CPU us a frame, medians"
    table = Table("case", "without", "with", "counting", "target", title=title, title_justify="left")
    for case, costs in figures.items():
        if case != "scrape":
            more = costs["with_us"] - costs["without_us"]
            cells = (f"{value:,.2f}" for value in (costs["without_us"], costs["with_us"], more))
            table.add_row(case, *cells, f"< {MOST_US:g}")
    console.print(table)
    console.print(f"One scrape: {figures['scrape']['cpu_ms']:,.1f} ms of CPU, the asking too.")
