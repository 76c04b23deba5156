"""What the cluster takes down of each micro-batch, from reports as Spark writes them."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest

from consumers.cluster.spark import progress
from consumers.cluster.spark.progress import STEPS, Batches

TOPIC: Final = "frames"


def report(
    rows: int,
    *,
    number: int = 0,
    end: Mapping[int, int] | None = None,
    latest: Mapping[int, int] | None = None,
    times_ms: Mapping[str, int] | None = None,
    written: int | None = None,
) -> str:
    """Give the JSON that Spark 3.5 writes after a batch, less what is not read."""
    source: dict[str, Any] = {
        "description": "KafkaV2[Subscribe[frames]]",
        "startOffset": None,
        "endOffset": None if end is None else {TOPIC: end},
        "latestOffset": None if latest is None else {TOPIC: latest},
        "numInputRows": rows,
    }
    return json.dumps(
        {"batchId": number, "numInputRows": rows, "durationMs": dict(times_ms or {}), "sources": [source]}
        | ({} if written is None else {"sink": {"description": "KafkaTable", "numOutputRows": written}})
    )


def looked(*reports: str) -> tuple[Batches, list[Mapping[int, int]]]:
    """Look once after each report."""
    committed: list[Mapping[int, int]] = []
    batches = Batches(TOPIC, commit=committed.append)
    for number in range(1, len(reports) + 1):
        batches.take(reversed(reports[:number]))
    return batches, committed


def test_before_the_first_batch_nothing_is_known() -> None:
    batches, committed = looked()
    assert (batches.frames, batches.batches, batches.lag) == (0, 0, None)
    assert committed == []
    assert batches.summary() == {
        "frames": 0,
        "left_to_others": 0,
        "batches": 0,
        "frames_per_batch": None,
        "micro_batch_ms": dict.fromkeys(STEPS.values()),
    }


def test_each_batch_is_counted_and_its_offsets_are_told_to_the_group() -> None:
    batches, committed = looked(report(7, end={0: 3, 1: 4}), report(2, end={0: 5, 1: 4}))
    assert (batches.frames, batches.batches) == (9, 2)
    assert committed == [{0: 3, 1: 4}, {0: 5, 1: 4}]
    assert batches.summary()["frames_per_batch"] == 4.5


def test_a_batch_without_frames_counts_for_nothing_but_its_offsets_are_told() -> None:
    batches, committed = looked(report(0, end={0: 3}, times_ms={"triggerExecution": 900}))
    assert (batches.frames, batches.batches) == (0, 0)
    assert batches.summary()["micro_batch_ms"]["whole"] is None
    assert committed == [{0: 3}]


def test_frames_that_were_read_and_gave_no_row_were_left_to_another_tier() -> None:
    batches, _ = looked(report(7, end={0: 3}, written=4), report(2, end={0: 5}, written=2))
    assert (batches.frames, batches.left_to_others) == (9, 3)


def test_what_was_left_is_not_known_once_spark_did_not_say_what_it_wrote() -> None:
    unsaid = (report(5, end={0: 8}), report(5, end={0: 8}, written=-1))
    for one in unsaid:
        batches, _ = looked(report(7, end={0: 3}, written=4), one, report(2, end={0: 9}, written=1))
        assert batches.summary()["left_to_others"] is None


def test_lag_is_what_kafka_has_and_the_batch_did_not_reach() -> None:
    assert looked(report(1, end={0: 3, 1: 4}, latest={0: 10, 1: 4}))[0].lag == 7
    # A partition that came into being meanwhile; and an end that Kafka told before the batch was made.
    assert looked(report(1, end={0: 3}, latest={0: 3, 1: 2}))[0].lag == 2
    assert looked(report(1, end={0: 5}, latest={0: 3}))[0].lag == 0


def test_a_batch_that_is_done_again_after_a_crash_has_no_latest_offset_and_counts() -> None:
    batches, committed = looked(report(3, end={0: 3}, latest={0: 9}), report(5, end={0: 8}))
    assert (batches.frames, committed[-1]) == (8, {0: 8})
    assert batches.lag == 6, "as it was known last"


def test_a_source_that_says_nothing_is_told_to_nobody() -> None:
    batches, committed = looked(report(1))
    assert committed == []
    assert batches.lag is None


def test_the_steps_of_a_batch_are_given_as_medians_under_our_names() -> None:
    times = [{"addBatch": 10, "triggerExecution": 20}, {"addBatch": 30}, {"addBatch": 20, "triggerExecution": 50}]
    steps = looked(*(report(1, times_ms=one) for one in times))[0].summary()["micro_batch_ms"]
    assert list(steps) == list(STEPS.values())
    assert (steps["add_batch"], steps["whole"], steps["wal_commit"]) == (20, 35, None)


def test_the_newest_batches_are_kept_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "KEPT", 3)
    reports = [report(size, times_ms={"addBatch": size}) for size in range(1, 101)]
    summary = looked(*reports)[0].summary()
    assert (summary["batches"], summary["frames"]) == (100, 5050)
    assert summary["frames_per_batch"] == 99.0
    assert summary["micro_batch_ms"]["add_batch"] == 99


def test_a_look_takes_what_is_new_and_tells_the_group_the_last_of_it() -> None:
    reports = [report(1, number=number, end={0: number}) for number in range(1, 8)]
    committed: list[Mapping[int, int]] = []
    batches = Batches(TOPIC, commit=committed.append)
    batches.take(reversed(reports[:3]))
    batches.take(reversed(reports[:3]))
    batches.take(reversed(reports[1:6]))  # Spark has forgotten the first
    assert (batches.frames, committed) == (6, [{0: 3}, {0: 6}])
    batches.take(reversed(reports[6:]))  # another query's: none that is known
    assert (batches.frames, committed[-1]) == (7, {0: 7})


def test_a_look_reads_no_further_back_than_it_must() -> None:
    batches, _ = looked(report(1, end={0: 1}))

    def newest_first() -> Any:  # noqa: ANN401
        yield report(2, end={0: 3})
        yield report(1, end={0: 1})
        pytest.fail("read on")

    batches.take(newest_first())
    assert batches.frames == 3


def test_offsets_are_those_of_our_topic() -> None:
    other = json.loads(report(1))
    other["sources"][0]["endOffset"] = {"other": {"0": 12}}
    assert looked(json.dumps(other))[1] == []
    assert looked(report(1, end={1: 2**63 - 1}))[1] == [{1: 2**63 - 1}]


def test_an_offset_that_is_told_is_never_taken_back_by_a_failing_group() -> None:
    def failing(following: Mapping[int, int]) -> Any:  # noqa: ANN401
        raise OSError(following)

    batches = Batches(TOPIC, commit=failing)
    with pytest.raises(OSError, match="3"):
        batches.take([report(1, end={0: 3})])
    assert (batches.frames, batches.batches) == (1, 1)
