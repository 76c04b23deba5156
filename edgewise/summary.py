"""What one run came to: the content of ``summary.json``, whose JSON Schema this is (docs/summary.schema.json).

``None`` was not measured and prints as n/a; 0 was, and is 0.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Reason(_Part):
    """A rule that the run broke."""

    rule: str
    found: float | int | str
    limit: float | int | str
    next: str
    """What to do about it."""


class FrameCounts(_Part):
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


class Lateness(_Part):
    """How late frames left the cameras, milliseconds."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    p50: float | None
    p99: float | None
    max: float | None


class Latency(_Part):
    """From due to seen by the ledger, milliseconds; a missing frame counts as infinity, printed as null."""

    p50: float | None
    p90: float | None
    p99: float | None
    p999: float | None


class TierSummary(_Part):
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
    throughput_hz: float | None
    """Results over the time from the first frame due to the last result."""
    latency_ms: Latency
    latency_stages_ms: dict[str, float | None]
    """Medians of the steps between."""
    batch_mean: float | None
    """Images in one call of the engine."""
    tasks: int | None = None
    """Tasks that shared a piece of work, at most; 1 where one process does it all."""
    micro_batch_ms: dict[str, float | None] | None = None
    """Medians of the steps of a micro-batch, as the cluster's engine tells them; None where there are none."""
    cpu_s: float | None
    memory_bytes: int | None
    uplink_bytes: int
    """What this tier's placement sends up, each once: results from the gateway, frames to the cluster."""
    late_readings: int
    """Results timed by Kafka's append stamp (whole milliseconds), because the ledger had not caught up."""


class Difference(_Part):
    """Cluster's latency minus gateway's of the same frame, milliseconds: above 0 the gateway's answer was first."""

    p50: float | None
    p90: float | None


class Paired(_Part):
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
    latency_difference_ms: Difference


class Summary(_Part):
    """The whole run."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)

    schema_version: Literal[1] = Field(default=1, alias="schema")
    run: str
    version: str
    verdict: Literal["VALID", "INVALID"]
    reasons: list[Reason]
    frames: FrameCounts
    lateness_ms: Lateness
    tiers: dict[str, TierSummary]
    paired: Paired | None = None
    """The two tiers on the same frames; None with one tier."""


def schema_text() -> str:
    """Give the JSON Schema of a summary as it is published."""
    return json.dumps(Summary.model_json_schema(by_alias=True), indent=1) + "\n"
