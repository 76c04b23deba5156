"""What the cluster takes down of each micro-batch, by events as Spark makes them."""

import json
from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import pytest
from pyspark.sql.streaming.listener import QueryProgressEvent, StreamingQueryProgress

from consumers.cluster.spark import progress
from consumers.cluster.spark.progress import STEPS, Batches, offsets

TOPIC: Final = "frames"
ID: Final = str(UUID(int=1))


def event(
    rows: int,
    *,
    end: Mapping[int, int] | None = None,
    latest: Mapping[int, int] | None = None,
    times_ms: Mapping[str, int] | None = None,
) -> QueryProgressEvent:
    """Give an event as Spark sends it after a batch."""
    source: dict[str, Any] = {
        "description": "KafkaV2[Subscribe[frames]]",
        "startOffset": None,
        "endOffset": None if end is None else json.dumps({TOPIC: end}),
        "latestOffset": None if latest is None else json.dumps({TOPIC: latest}),
        "numInputRows": rows,
        "inputRowsPerSecond": 0.0,
        "processedRowsPerSecond": 0.0,
        "metrics": {},
    }
    return QueryProgressEvent(
        StreamingQueryProgress.fromJson(
            {
                "id": ID,
                "runId": ID,
                "name": "edgewise",
                "timestamp": "",
                "batchId": 0,
                "stateOperators": [],
                "numInputRows": rows,
                "inputRowsPerSecond": 0.0,
                "processedRowsPerSecond": 0.0,
                "durationMs": dict(times_ms or {}),
                "sources": [source],
                "sink": {"description": "KafkaSink", "numOutputRows": rows, "metrics": {}},
            }
        )
    )


def listening(*events: QueryProgressEvent) -> tuple[Batches, list[Mapping[int, int]]]:
    committed: list[Mapping[int, int]] = []
    batches = Batches(TOPIC, commit=committed.append)
    for one in events:
        batches.onQueryProgress(one)
    return batches, committed


def test_before_the_first_batch_nothing_is_known() -> None:
    batches, committed = listening()
    assert (batches.frames, batches.batches, batches.lag) == (0, 0, None)
    assert committed == []
    assert batches.summary() == {
        "frames": 0,
        "batches": 0,
        "frames_per_batch": None,
        "micro_batch_ms": dict.fromkeys(STEPS.values()),
    }


def test_each_batch_is_counted_and_its_offsets_are_told_to_the_group() -> None:
    batches, committed = listening(event(7, end={0: 3, 1: 4}), event(2, end={0: 5, 1: 4}))
    assert (batches.frames, batches.batches) == (9, 2)
    assert committed == [{0: 3, 1: 4}, {0: 5, 1: 4}]
    assert batches.summary()["frames_per_batch"] == 4.5


def test_a_batch_without_frames_counts_for_nothing_but_its_offsets_are_told() -> None:
    batches, committed = listening(event(0, end={0: 3}, times_ms={"triggerExecution": 900}))
    assert (batches.frames, batches.batches) == (0, 0)
    assert batches.summary()["micro_batch_ms"]["whole"] is None
    assert committed == [{0: 3}]


def test_lag_is_what_kafka_has_and_the_batch_did_not_reach() -> None:
    assert listening(event(1, end={0: 3, 1: 4}, latest={0: 10, 1: 4}))[0].lag == 7
    # A partition that came into being meanwhile; and an end that Kafka told before the batch was made.
    assert listening(event(1, end={0: 3}, latest={0: 3, 1: 2}))[0].lag == 2
    assert listening(event(1, end={0: 5}, latest={0: 3}))[0].lag == 0


def test_a_batch_that_is_done_again_after_a_crash_has_no_latest_offset_and_counts() -> None:
    again = event(5, end={0: 8})
    assert again.progress.sources[0].latestOffset == "None", "PySpark's text for Java's null"
    batches, committed = listening(event(3, end={0: 3}, latest={0: 9}), again)
    assert (batches.frames, committed[-1]) == (8, {0: 8})
    assert batches.lag == 6, "as it was known last"


def test_a_source_that_says_nothing_is_told_to_nobody() -> None:
    batches, committed = listening(event(1))
    assert committed == []
    assert batches.lag is None


def test_the_steps_of_a_batch_are_given_as_medians_under_our_names() -> None:
    times = [{"addBatch": 10, "triggerExecution": 20}, {"addBatch": 30}, {"addBatch": 20, "triggerExecution": 50}]
    steps = listening(*(event(1, times_ms=one) for one in times))[0].summary()["micro_batch_ms"]
    assert list(steps) == list(STEPS.values())
    assert (steps["add_batch"], steps["whole"], steps["wal_commit"]) == (20, 35, None)


def test_the_newest_batches_are_kept_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "KEPT", 3)
    events = [event(size, times_ms={"addBatch": size}) for size in range(1, 101)]
    summary = listening(*events)[0].summary()
    assert (summary["batches"], summary["frames"]) == (100, 5050)
    assert summary["frames_per_batch"] == 99.0
    assert summary["micro_batch_ms"]["add_batch"] == 99


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"frames":{"0":12,"3":0}}', {0: 12, 3: 0}),
        ('{"other":{"0":12}}', {}),
        ('{"other":{"0":12},"frames":{"1":9223372036854775807}}', {1: 2**63 - 1}),
        ("{}", {}),
        ("", {}),
        ("None", {}),
        (None, {}),
    ],
)
def test_sparks_offsets_are_read_by_topic(text: str | None, found: dict[int, int]) -> None:
    assert offsets(text, TOPIC) == found


def test_an_offset_that_is_told_is_never_taken_back_by_a_failing_group() -> None:
    def failing(following: Mapping[int, int]) -> Any:  # noqa: ANN401
        raise OSError(following)

    batches = Batches(TOPIC, commit=failing)
    with pytest.raises(OSError, match="3"):
        batches.onQueryProgress(event(1, end={0: 3}))
    assert (batches.frames, batches.batches) == (1, 1)
