"""What one run came to: the content of ``summary.json``, whose JSON Schema this is (docs/summary.schema.json).

``None`` was not measured and prints as n/a; 0 was, and is 0.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A piece of a result that is kept as JSON: what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Limits(Strict):
    """What a run may come to and still be VALID. A share is a part of 1."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    late_ms: float = Field(default=5.0, ge=0)
    """How late 99 % of the frames may leave their cameras, milliseconds; or ``late_share``, if that is more."""
    late_share: float = Field(default=0.05, ge=0)
    """The same, as a share of the faster tier's median latency."""
    samples: int = Field(default=0, ge=0)
    """Frames a tier must be measured on; a run whose p99 is to be stated needs 459. Fewer than that are remarked."""
    copies_share: float = Field(default=0.9, ge=0)
    """Further results of the same frames, as a share of the results: a crash makes some, and only an error doubles."""
    starved_share: float = Field(default=0.5, ge=0, le=1)
    """A camera is starved with less than this share of the answers that half of the cameras get."""
    starved_times: float = Field(default=10.0, ge=1)
    """A camera is starved, too, if its median latency is so many times that of half of the cameras ..."""
    starved_s: float = Field(default=1.0, ge=0)
    """... and more than so many seconds above it."""
    backlog_share: float = Field(default=0.01, ge=0)
    """By how much of the offered rate the outstanding frames may grow, at the upper 95 % bound."""
    backlog_over_s: float = Field(default=10.0, gt=0)
    """Seconds of schedule, after the warm-up, that growth is judged over at least."""
    clock_ms: float = Field(default=1.0, ge=0)
    """Milliseconds that a moment may lie before the one that it follows: Kafka's stamps are whole ones, cut off."""
    clock_off_ms: float = Field(default=10.0, ge=0)
    """Milliseconds that a part's clock may surely be from the ledger's: every latency carries what the fleet's is."""
    clock_share: float = Field(default=0.001, ge=0, le=1)
    """Share of the frames of which one moment may lie further before another that it follows."""
    ledger_ms: float = Field(default=1000.0, ge=0)
    """How long 99 % of the results may be in Kafka before the ledger sees them: that delay is no tier's."""
    stable: bool = False
    """Whether the warm-up must end by stability; otherwise it is remarked that it did not."""
    stable_within: float = Field(default=0.1, ge=0)
    """How far three windows in a row may differ in throughput and in median latency to be called stable, as a share."""
    warm_up_least_s: float = Field(default=1.0, ge=0)
    """Seconds of schedule that are warm-up at least."""
    warm_up_most_share: float = Field(default=0.5, ge=0, le=1)
    """Share of the schedule by which it must be stable; if it never is, half of this is taken for the warm-up."""


class Interval(Strict):
    """Where the true value lies with 95 % confidence, in the unit of the value."""

    low: float
    high: float


class Reason(Strict):
    """A rule that the run broke; or, among the remarks, what is worth knowing and breaks none."""

    rule: str
    found: float | int | str
    limit: float | int | str
    unit: str = ""
    """Of both."""
    next: str
    """What to do about it."""
    said: list[str] = []
    """The last lines of the log of a part that died."""
    consequences: list["Reason"] = []
    """Rules that were broken because of this one."""


class WarmUp(Strict):
    """The frames that no latency is taken from: those due before the run was stable."""

    stable: bool
    """Whether it ended by stability; otherwise a share of the schedule was taken for it."""
    lasted_s: float
    """From the first frame due."""
    frames: int
    """Scheduled in that time; they are accounted for like all others."""
    window_s: float
    """Of the windows compared."""


class Steadiness(Strict):
    """How evenly the machine worked: a small piece of work, done on each core again and again while the run lasted."""

    probes: int
    probe_us: float
    """Median of the processor time that it took."""
    slowest: float
    """The slowest probe, as a multiple of its core's median."""
    uneven_share: float
    """Of the probes, that took a fifth more than their core's median, or less than it in the same proportion."""


class PartClock(Strict):
    """How far one part's clock is from the ledger's; above 0 it is ahead."""

    same_machine: bool
    """Whether the part ran on the ledger's machine: then both read one clock."""
    offset_ms: float | None
    """By four-timestamp exchanges of both with Kafka; None where there were none."""
    bound_ms: float | None
    """How far the true offset may lie from that, surely: half of both round trips, and half of Kafka's millisecond."""


class FrameCounts(Strict):
    """The funnel, before the tiers part."""

    scheduled: int
    sent: int | None
    confirmed: int | None
    unheard: int | None
    refused: int | None
    dropped_at_source: int | None
    bridged: int
    bridged_copies: int
    never_bridged: int | None = None
    """Confirmed to their cameras, and not in Kafka."""
    rejected: int
    """By the bridge; each tier counts its own."""


class Images(Strict):
    """What the images of a fleet were."""

    dataset: str
    """cifar10, or pictures: those of a folder."""
    split: str
    """test or train; or the folder's name."""
    images: int
    """That could be sent."""
    sha256: str
    """Of their pixels and classes."""
    skipped: int = 0
    """Files of the folder that could not be sent."""


class Lateness(Strict):
    """How late frames left the cameras, milliseconds."""

    model_config = ConfigDict(allow_inf_nan=False)

    p50: float | None
    p99: float | None
    max: float | None


class Generator(Strict):
    """What was asked of the cameras, beside what they can do: near it, a run would measure them."""

    offered_hz: float
    """Frames a second of all cameras together."""
    peak_hz: float | None = None
    """The same while most come, which is what is judged; None where the pattern has no peak."""
    ceiling_hz: float
    """That the same cameras sent at most, with nobody behind them."""
    limit_share: float
    """Of the ceiling, that may be asked."""


class Latency(Strict):
    """From due to seen by the ledger, milliseconds; a missing frame counts as infinity, printed as null."""

    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None


class Camera(Strict):
    """The camera that waited longest for its answers."""

    name: str
    percentile: Literal["p50", "p90", "p99"]
    """The highest that every camera has samples enough for."""
    latency_ms: float | None
    """None is infinite: that many of its frames are missing."""
    frames: int
    """Measured."""


class Backlog(Strict):
    """How the outstanding frames grew after the warm-up: sent and not yet answered, frames a second."""

    slope_hz: float
    lower_hz: float
    upper_hz: float
    """Each bound holds with 95 % confidence."""
    offered_hz: float
    """Frames due a second."""


class PerThousand(Strict):
    """What 1,000 right answers cost."""

    cpu_s: float | None = None
    uplink_bytes: float | None = None
    money: float | None = None
    """Modelled by the run's tariff, in its currency; None if none was declared."""
    energy_j: float | None = None
    """Modelled by the run's tariff: nobody measured joules."""


class Declared(Strict):
    """Whose prices and watts modelled figures are made of."""

    name: str
    currency: str


class TierSummary(Strict):
    """What one tier came to."""

    engine: str | None
    model: str | None
    results: int
    missing: int
    missing_by_last_place: dict[str, int]
    duplicates: int
    reordered: int
    rejected: int
    rejected_by_rule: dict[str, int]
    correct: int
    accuracy: float | None
    """Of the frames answered whose true class is known."""
    accuracy_interval: Interval | None = None
    """Wilson's."""
    measured: int | None = None
    """Frames that the latencies are of: due after the warm-up and sent, answered or not."""
    on_time: float | None = None
    """Share of the frames due after the warm-up that were answered rightly within the deadline."""
    on_time_within: dict[str, float] = {}
    """The same for other deadlines, by their milliseconds."""
    throughput_hz: float | None
    """Results over the time from the first frame due to the last result."""
    latency_ms: Latency
    latency_stages_ms: dict[str, float | None]
    """Medians of the steps between."""
    steps_ms: dict[str, float | None] = {}
    """Medians from each moment that is known of a frame to the next one, those in Kafka too."""
    batch_mean: float | None
    """Images in one call of the engine."""
    tasks: int | None = None
    """Tasks that shared a piece of work, at most; 1 where one process does it all."""
    micro_batch_ms: dict[str, float | None] | None = None
    """Medians of the steps of a micro-batch, as the cluster's engine tells them; None where there are none."""
    cpu_s: float | None
    """From when the tier was ready."""
    cpu_start_s: float | None = None
    """Until then: models loaded, Java warmed up."""
    memory_bytes: int | None
    uplink_bytes: int
    """What this tier's placement sends up, each once: results from the gateway, frames to the cluster."""
    per_1000_correct: PerThousand = PerThousand()
    late_readings: int
    """Results timed by Kafka's append stamp (whole milliseconds), because the ledger had not caught up."""
    worst_camera: Camera | None = None
    starved_cameras: int | None = None
    """Cameras with far fewer or far later answers than the others."""
    starved_names: list[str] = []
    """Of ten of them."""
    backlog: Backlog | None = None
    """None if the run was too short to tell."""
    impossible_steps: dict[str, int] = {}
    """Frames of which a moment lies before the one it follows, by step; none of them is left out."""

    def cost(self, *, cpu_s: float | None) -> None:
        """Note the CPU seconds spent, and what 1,000 right answers cost."""
        self.cpu_s = cpu_s
        self.per_1000_correct = PerThousand(
            cpu_s=_per_1000(cpu_s, self.correct), uplink_bytes=_per_1000(self.uplink_bytes, self.correct)
        )


class Hop(Strict):
    """What travelled one hop of the way, each message once: payloads of MQTT and Kafka, without what these add."""

    start: str
    end: str
    messages: int
    size_bytes: int


class Difference(Strict):
    """Cluster's latency minus gateway's of the same frame, milliseconds: above 0 the gateway's answer was first."""

    p50: float | None
    p90: float | None
    p50_interval: Interval | None = None
    """By paired bootstrap."""


class Paired(Strict):
    """The two tiers on the same frames. A frame that one of them did not answer is in none of these numbers."""

    frames: int
    """Answered by both."""
    agreement: float | None
    """Share of them that got the same label from both."""
    both_right: int
    only_gateway_right: int
    only_cluster_right: int
    both_wrong: int
    """Of the frames whose true class is known."""
    accuracy_difference: float | None = None
    """Cluster's share of right answers minus gateway's: above 0 the cluster was right more often."""
    accuracy_difference_interval: Interval | None = None
    """By paired bootstrap."""
    mcnemar_p: float | None = None
    """How likely tiers that are equally often right differ so much (McNemar's exact test)."""
    latency_difference_ms: Difference
    measured: int | None = None
    """Frames that the latency difference is of: those of both tiers after the warm-up."""


class PhaseLatency(Strict):
    """From due to seen, of the frames due in a phase and after the warm-up; None with too few samples, or infinite."""

    p50: float | None
    p99: float | None


class Phase(Strict):
    """A stretch of the run, from the moment that a fleet joined to the next such moment."""

    begins_s: float
    """After the first fleet's schedule began."""
    joined: list[str]
    """Fleets whose schedules begin with it."""
    cameras: int
    """Of all fleets whose schedules are under way as it begins."""
    frames: int
    """Scheduled in it, those of the warm-up too."""
    scheduled_hz: float
    latency_ms: dict[str, PhaseLatency]
    """By tier."""


class Summary(Strict):
    """The whole run."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run: str
    version: str
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    """The first is the cause; what followed from a reason stands among its consequences."""
    remarks: list[Reason] = []
    """What is worth knowing and makes no run INVALID."""
    limits: Limits | None = None
    """What the run was judged by."""
    generator: Generator | None = None
    """None where the ceiling was not measured first."""
    deadline_ms: float | None = None
    """By when an answer is on time, from due to seen."""
    tariff: Declared | None = None
    """By which money and energy are modelled; None if none was declared."""
    warm_up: WarmUp | None = None
    """None if the run was too short to have one."""
    clocks: dict[str, PartClock] = {}
    """By part; none of parts that were not told the run."""
    steadiness: Steadiness | None = None
    """Of the machine; None where nobody watched it."""
    phases: list[Phase] = []
    """None with a single fleet."""
    images: dict[str, Images] = {}
    """By fleet; the truth is theirs."""
    frames: FrameCounts
    lateness_ms: Lateness
    hops: list[Hop] = []
    """In the order of the way; frames of which nobody but their camera knows are in none."""
    tiers: dict[str, TierSummary]
    split_seed: int | None = None
    """Of the rule by which each frame went to one tier, and is in that one's numbers alone; None if all went to all."""
    co_located: bool | None = None
    """Whether both tiers ran at once on the same cores; None where nobody knows, or one ran alone."""
    paired: Paired | None = None
    """The two tiers on the same frames; None with one tier, or where each frame went to one of them."""


def _per_1000(amount: float | None, correct: int) -> float | None:
    return None if amount is None or not correct else round(amount / correct * 1000, 3)


def schema_text() -> str:
    """Give the JSON Schema of a summary as it is published."""
    return json.dumps(Summary.model_json_schema(by_alias=True), indent=1) + "\n"
