"""Every metric that a part tells a Prometheus: name, unit, labels and what it says; and the page that lists them.

Nothing is counted here: ``edgewise.meter`` counts what goes through a part, and
``edgewise.endpoint`` asks the part when somebody scrapes it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgewise.clock import SECOND_NS
from edgewise.summary import Limits

Kind = Literal["counter", "gauge", "histogram"]

FLEET, BRIDGE, GATEWAY, CLUSTER, LEDGER, UP = "fleet", "bridge", "gateway", "cluster", "ledger", "up"
EVERY: Final = (FLEET, BRIDGE, GATEWAY, CLUSTER, LEDGER, UP)
TIERS: Final = (GATEWAY, CLUSTER)
GROUP: Final = ("group",)
"""Label of what a fleet tells of each of its groups; other parts have none."""
FRAMES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Upper bounds of the sizes of batches."""
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds of durations."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What one name stands for, in every part that tells it."""

    name: str
    """As Prometheus' conventions want it: the unit is its last word but for ``total``."""
    kind: Kind
    says: str
    parts: Sequence[str]
    """That tell it."""
    labels: Sequence[str] = ()
    """Besides ``part``, which each has."""
    bounds: Sequence[float] = ()
    """Of a histogram's buckets, the upper ones, in the metric's unit."""
    per_unit: int = 1
    """How many of what is added to a histogram are one of its unit: durations are added in nanoseconds."""

    def of(self, value: "float | Histogram", *labels: str) -> "Reading":
        """Give one value, with those of its labels."""
        return Reading(self, value, labels)


class Histogram:
    """How often values lay below each bound. One thread adds, others may read."""

    __slots__ = ("_bounds", "counts", "metric", "total")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._bounds = [round(bound * metric.per_unit) for bound in metric.bounds]
        self.counts = [0] * (len(self._bounds) + 1)
        """Of each bucket alone, the last without a bound."""
        self.total = 0
        """Of all values."""

    def add(self, values: Sequence[int]) -> None:
        """Take values in; what clocks that disagree call less than nothing is nothing."""
        # numpy would be quicker from fifty values on and ten times as slow below ten: batches are often small.
        counts, bounds, total = self.counts, self._bounds, 0
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            if value > 0:
                total += value
        self.total += total

    def repeat(self, value: int, *, times: int = 1) -> None:
        """Take one value in, several times."""
        self.counts[bisect_left(self._bounds, value)] += times
        if value > 0:
            self.total += value * times

    def __add__(self, other: "Histogram") -> "Histogram":
        """Give both together."""
        both = Histogram(self.metric)
        both.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        both.total = self.total + other.total
        return both

    def __eq__(self, other: object) -> bool:
        """Say whether the same was counted."""
        return isinstance(other, Histogram) and (self.counts, self.total) == (other.counts, other.total)

    def __hash__(self) -> int:
        """Tell apart by identity: it changes."""
        return id(self)

    def buckets(self) -> list[tuple[str, float]]:
        """Give bound and how many lay at or below it, as Prometheus wants them."""
        below, found = 0, []
        for bound, count in zip(
            (*(str(float(bound)) for bound in self.metric.bounds), "+Inf"), self.counts, strict=True
        ):
            below += count
            found.append((bound, float(below)))
        return found


@dataclass(frozen=True, slots=True)
class Reading:
    """One value at one moment."""

    metric: Metric
    value: float | Histogram
    labels: tuple[str, ...] = ()


BUILD_INFO: Final = Metric(
    "edgewise_build_info", "gauge", "1; which version of the kit, on which Python.", EVERY, ("version", "python")
)
PART_INFO: Final = Metric(
    "edgewise_part_info",
    "gauge",
    "1; which of its kind, for which run, with what engine and model. Empty where there is none, or not yet.",
    EVERY,
    ("name", "run", "engine", "model"),
)
CPU_SECONDS: Final = Metric(
    "edgewise_cpu_seconds_total",
    "counter",
    "Processor time of the part and of all processes that it started: Java, Python workers, brokers.",
    EVERY,
)
MEMORY_BYTES: Final = Metric(
    "edgewise_memory_bytes", "gauge", "Resident memory of the part and of all processes that it started.", EVERY
)
DISK_FREE_BYTES: Final = Metric(
    "edgewise_disk_free_bytes",
    "gauge",
    "Free for this user where the part keeps something: the ledger's out, the cluster's checkpoint, the brokers' data.",
    (CLUSTER, LEDGER, UP),
    ("holds",),
)
DISK_SIZE_BYTES: Final = Metric(
    "edgewise_disk_size_bytes", "gauge", "Of the same file system, all of it.", (CLUSTER, LEDGER, UP), ("holds",)
)
BROKER_RUNNING: Final = Metric(
    "edgewise_broker_running", "gauge", "1 while the process of an embedded broker runs.", (UP,), ("broker",)
)
CAMERAS: Final = Metric("edgewise_cameras", "gauge", "Of all processes of the fleet.", (FLEET,), GROUP)
CAMERAS_CONNECTED: Final = Metric(
    "edgewise_cameras_connected", "gauge", "Cameras that have a connection.", (FLEET,), GROUP
)
FRAMES_SCHEDULED: Final = Metric(
    "edgewise_frames_scheduled", "gauge", "That the fleet is to send in all.", (FLEET,), GROUP
)
FRAMES_LATE: Final = Metric(
    "edgewise_frames_late_total",
    "counter",
    f"Sent more than {Limits().late_ms:g} ms after they were due.",
    (FLEET,),
    GROUP,
)
FRAMES_DROPPED: Final = Metric(
    "edgewise_frames_dropped_total", "counter", "Dropped at source: they could not be sent in time.", (FLEET,), GROUP
)
FRAMES_CONFIRMED: Final = Metric(
    "edgewise_frames_confirmed_total",
    "counter",
    "Acknowledged by the MQTT broker for at least one reader.",
    (FLEET,),
    GROUP,
)
LATENESS_SECONDS: Final = Metric(
    "edgewise_lateness_seconds",
    "histogram",
    "From the moment that a frame was due to the one that it was first sent.",
    (FLEET,),
    GROUP,
    bounds=SECONDS,
    per_unit=SECOND_NS,
)
FRAMES_RECEIVED: Final = Metric(
    "edgewise_frames_received_total",
    "counter",
    "Taken in: by bridge and gateway from MQTT or Kafka, copies too; by the cluster, those of finished micro-batches; "
    "by the ledger, those of its run that it saw in Kafka, each once.",
    (BRIDGE, GATEWAY, CLUSTER, LEDGER),
)
RECEIVED_BYTES: Final = Metric(
    "edgewise_received_bytes_total", "counter", "Of the frames taken in.", (BRIDGE, GATEWAY, CLUSTER, LEDGER)
)
FRAMES_SENT: Final = Metric(
    "edgewise_frames_sent_total",
    "counter",
    "Sent on: by the fleet to MQTT, each once; by the bridge to Kafka, which has acknowledged them.",
    (FLEET, BRIDGE),
    GROUP,
)
SENT_BYTES: Final = Metric(
    "edgewise_sent_bytes_total",
    "counter",
    "Of the frames sent by the fleet, copies too; of what bridge, gateway and cluster wrote to Kafka, less rejections.",
    (FLEET, BRIDGE, GATEWAY, CLUSTER),
    GROUP,
)
RESULTS: Final = Metric(
    "edgewise_results_total",
    "counter",
    "Results: written by a tier, copies too; seen by the ledger in its run, each frame once.",
    (GATEWAY, CLUSTER, LEDGER),
    ("tier",),
)
REJECTED: Final = Metric(
    "edgewise_rejected_total",
    "counter",
    "Frames put into frames-rejected, by the rule that they broke; the cluster's are told by finished micro-batches.",
    (BRIDGE, GATEWAY, CLUSTER),
    ("rule",),
)
LEFT_TO_OTHERS: Final = Metric(
    "edgewise_left_to_others_total", "counter", "Frames that were another tier's (--split).", TIERS
)
RECONNECTS: Final = Metric(
    "edgewise_reconnects_total", "counter", "Connections to the MQTT broker after the first.", (BRIDGE, GATEWAY)
)
UNACKNOWLEDGED_FRAMES: Final = Metric(
    "edgewise_unacknowledged_frames",
    "gauge",
    "Taken and not yet given back as finished: Kafka, or the model, owes an answer.",
    (BRIDGE, GATEWAY),
)
WINDOW_FRAMES: Final = Metric(
    "edgewise_window_frames", "gauge", "As many may be unacknowledged at most.", (BRIDGE, GATEWAY)
)
QUEUE_FRAMES: Final = Metric(
    "edgewise_queue_frames", "gauge", "In line for the model, or in it: that part of the unacknowledged.", (GATEWAY,)
)
LAG_FRAMES: Final = Metric(
    "edgewise_lag_frames",
    "gauge",
    "Records in Kafka that the part has not finished, by its group's offsets, which Kafka is asked for: it grows while "
    "the part hangs. Of the ledger, that it has not read, in all its topics. Absent until known, and for a gateway "
    "that reads MQTT, which has no consumer group.",
    (GATEWAY, CLUSTER, LEDGER),
)
BATCH_FRAMES: Final = Metric(
    "edgewise_batch_frames",
    "histogram",
    "Frames that the bridge took at once, that the gateway's engine had in one call, of the cluster's micro-batch.",
    (BRIDGE, GATEWAY, CLUSTER),
    bounds=FRAMES,
)
ENGINE_SECONDS: Final = Metric(
    "edgewise_engine_seconds",
    "histogram",
    "One call of the engine, however many frames it had. The cluster's driver hears of no call: the ledger's "
    "edgewise_result_stage_seconds has each frame's inference, of both tiers.",
    (GATEWAY,),
    bounds=SECONDS,
    per_unit=SECOND_NS,
)
STAGE_SECONDS: Final = Metric(
    "edgewise_stage_seconds",
    "histogram",
    "Each frame's time in one stage of a part: source (due to sent), transport (sent to received), queue (received to "
    "the engine), inference, store (to Kafka's acknowledgement; the bridge's begins when the frame was received).",
    (BRIDGE, GATEWAY),
    ("stage",),
    SECONDS,
    SECOND_NS,
)
MICRO_BATCH_SECONDS: Final = Metric(
    "edgewise_micro_batch_seconds",
    "histogram",
    "Each step of a micro-batch, as Spark tells it; whole is all of it.",
    (CLUSTER,),
    ("step",),
    SECONDS,
    SECOND_NS,
)
LATENCY_SECONDS: Final = Metric(
    "edgewise_latency_seconds",
    "histogram",
    "From due to seen by the ledger: the report's latency, alike for both tiers.",
    (LEDGER,),
    ("tier",),
    SECONDS,
    SECOND_NS,
)
RESULT_STAGE_SECONDS: Final = Metric(
    "edgewise_result_stage_seconds",
    "histogram",
    "What the latency consists of, by the report's stages: source, transport, queue, inference, result.",
    (LEDGER,),
    ("tier", "stage"),
    SECONDS,
    SECOND_NS,
)

METRICS: Final[Sequence[Metric]] = tuple(one for one in dict(globals()).values() if isinstance(one, Metric))
"""All of them, in the order above."""

PAGE: Final = """\
# Metrics

What each part tells a Prometheus on `--metrics-port` ([observe.md](observe.md) says how to bring that up). This page
is written from `edgewise/metrics.py`; a test compares them.

Each metric has the label `part` besides those named here. Beside them stand the usual `process_*` metrics of the
part's own process: `process_start_time_seconds` says when it began. A counter begins at 0 when its part starts.

| metric | kind | parts | labels | says |
|---|---|---|---|---|
{rows}

Buckets of durations end at {seconds} s, those of batches at {frames} frames. Durations between two machines are as
good as their clocks agree; what would be less than nothing counts as nothing.
"""


def page_text(metrics: Iterable[Metric] = METRICS) -> str:
    """Write docs/metrics.md."""
    rows = "\n".join(
        f"| `{one.name}` | {one.kind} | {'every' if one.parts == EVERY else ', '.join(one.parts)} | "
        f"{', '.join(f'`{label}`' for label in one.labels)} | {one.says} |"
        for one in metrics
    )
    return PAGE.format(rows=rows, seconds=_listed(SECONDS), frames=_listed(FRAMES))


def _listed(bounds: Sequence[Any]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)
