"""A Python worker's part of the cluster: Arrow in, Arrow out, and between them the same rules as on the gateway."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest

from consumers.cluster import model, read, write
from consumers.cluster.model import Work
from consumers.cluster.write import Rows
from edgewise import split
from edgewise.arrival import Answer, Answerer, opened
from edgewise.clock import SystemClock
from edgewise.errors import FrameError
from edgewise.messages import Codec, Frame, Result, Rule, Tier, decode_result, encode_frame
from edgewise.topics import REJECTED, RESULTS
from models import card
from models.engine import model_file
from tests.fakes import FRAME, arrival

NOW_NS: Final = 1_800_000_000_000_000_000
WORK: Final = Work(engine="onnx", model="resnet20", threads=1, tasks=3, predict_max=64)
INCOMING: Final = pa.schema(
    [
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("appended_ms", pa.int64()),
        ("bridged", pa.binary()),
    ]
)
"""As ``read.columns`` gives them."""
OUTGOING: Final = pa.schema(
    [
        ("topic", pa.string()),
        ("key", pa.binary()),
        ("value", pa.binary()),
        ("headers", pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))),
    ]
)
"""As ``write.COLUMNS`` says it to Spark."""
HEADERS: Final = ["rule", "reason", "size_bytes", "sha256", "from", "by"]


def row(**changes: object) -> dict[str, object]:
    """Give one of Kafka's rows."""
    usual = {"key": b"camera-7", "value": encode_frame(FRAME), "partition": 2, "offset": 41}
    return usual | {"appended_ms": 1_763_000_000_124, "bridged": b"1763000000125000001"} | changes


def batch(*rows: Mapping[str, object]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=INCOMING)


# --- frames in ----------------------------------------------------------------------------------


def test_a_row_becomes_an_arrival_with_all_that_kafka_says_of_it() -> None:
    (found,) = read.arrivals(batch(row()), now_ns=NOW_NS)
    assert (found.camera, found.wire, found.receipt) == ("camera-7", encode_frame(FRAME), 41)
    assert found.origin == "kafka frames/2@41"
    assert (found.bridged_ns, found.appended_ns) == (1_763_000_000_125_000_001, 1_763_000_000_124_000_000)
    assert found.received_ns == NOW_NS


@pytest.mark.parametrize(
    ("stamp", "found"),
    [
        (None, None),
        (b"", None),
        (b"soon", None),
        (b"-1", None),
        (b"1.5", None),
        (b"9999999999999999999", None),
        (b"\xff", None),
        (b"17", 17),
    ],
)
def test_a_bridges_stamp_that_is_none_is_none(stamp: bytes | None, found: int | None) -> None:
    assert read.arrivals(batch(row(bridged=stamp)), now_ns=NOW_NS)[0].bridged_ns == found


def test_any_program_may_write_to_the_topic_without_key_or_value() -> None:
    first, second, third = read.arrivals(batch(row(key=None), row(value=None), row(key=b"\xff\xfe")), now_ns=NOW_NS)
    assert (first.camera, second.wire) == ("", b"")
    assert third.camera == "\ufffd\ufffd"
    for one, rule in ((first, Rule.CAMERA), (second, Rule.EMPTY), (third, Rule.CAMERA)):
        with pytest.raises(FrameError) as caught:
            opened(one, shape=(1, 2, 3))
        assert caught.value.rule == rule


def test_a_batch_without_rows_has_no_arrivals() -> None:
    assert read.arrivals(batch(), now_ns=NOW_NS) == []


# --- results out --------------------------------------------------------------------------------

BY: Final = Answerer(Tier.CLUSTER, "onnx", "resnet20@0123456789ab", 3, "host:1/2")


def test_results_and_rejections_come_out_in_the_order_they_went_in() -> None:
    rows = Rows(by=BY)
    one = opened(arrival(encode_frame(FRAME)), shape=(1, 2, 3))
    rows.reject(arrival(b"GIF89a", camera="odd"), error=FrameError(Rule.MAGIC, "starts with 4749"))
    rows.store([one], [Answer(9, 0.75, NOW_NS, NOW_NS + 1, 64)])
    rejected, answered = rows.batch().to_pylist()
    assert (rejected["topic"], rejected["key"], rejected["value"]) == (REJECTED, b"odd", b"GIF89a")
    assert [header["key"] for header in rejected["headers"]] == HEADERS
    said = {header["key"]: header["value"] for header in rejected["headers"]}
    assert (said["rule"], said["by"], said["size_bytes"]) == (b"magic", b"cluster", b"6")
    assert said["from"] == b"mqtt cameras/odd/frames"
    assert (answered["topic"], answered["key"], answered["headers"]) == (RESULTS, b"camera-7", None)
    found = decode_result(answered["value"])
    assert found == one.result(Answer(9, 0.75, NOW_NS, NOW_NS + 1, 64), by=BY)
    assert (found.tier, found.tasks, found.worker, found.batch) == (Tier.CLUSTER, 3, "host:1/2", 64)


def test_an_empty_batch_keeps_its_columns() -> None:
    found = Rows(by=BY).batch()
    assert (found.num_rows, found.schema) == (0, OUTGOING)


def test_the_columns_are_those_that_spark_was_told() -> None:
    assert [field.name for field in OUTGOING] == [column.split(" ")[0] for column in write.COLUMNS.split(", ")]
    rows = Rows(by=BY)
    rows.reject(arrival(b""), error=FrameError(Rule.EMPTY, "0 bytes"))
    assert rows.batch().schema == OUTGOING


# --- one worker's stage, with a real model --------------------------------------------------------

PIXELS: Final = np.random.default_rng(5).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)


def picture(number: int) -> Frame:
    """Give a frame of the size that the model takes."""
    return replace(FRAME, number=number, width=32, height=32, codec=Codec.RAW, payload=PIXELS[number].tobytes())


def good(number: int) -> dict[str, object]:
    return row(value=encode_frame(picture(number)), offset=number)


DAMAGED: Final[Sequence[tuple[Rule, dict[str, object]]]] = [
    (Rule.EMPTY, row(value=b"", offset=100)),
    (Rule.MAGIC, row(value=b"GIF89a", offset=101)),
    (Rule.CHECK, row(value=encode_frame(picture(0))[:-1], offset=102)),
    (Rule.CAMERA, row(value=encode_frame(picture(0)), key=b"camera-8", offset=103)),
    (Rule.DIMENSIONS, row(value=encode_frame(FRAME), offset=104)),
    (Rule.PAYLOAD, row(value=encode_frame(replace(picture(0), codec=Codec.PNG)), offset=105)),
]


def classified(*batches: pa.RecordBatch, work: Work = WORK) -> list[list[dict[str, Any]]]:
    found = []
    for one in model.classify(iter(batches), work=work):
        assert one.schema == OUTGOING
        found.append(one.to_pylist())
    return found


def results(rows: Sequence[Mapping[str, Any]]) -> list[Result]:
    return [decode_result(one["value"]) for one in rows if one["topic"] == RESULTS]


def rules(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Give rule and origin of each rejection."""
    said = [{one["key"]: one["value"].decode() for one in row["headers"]} for row in rows if row["topic"] == REJECTED]
    return [(one["rule"], one["from"]) for one in said]


def test_good_frames_among_damaged_ones_are_all_answered_and_the_others_all_rejected() -> None:
    before_ns = SystemClock().now_ns()
    mixed = [one for number, (_, broken) in enumerate(DAMAGED) for one in (good(number), broken)]
    (rows,) = classified(batch(*mixed))
    after_ns = SystemClock().now_ns()
    answered = results(rows)
    assert [one.number for one in answered] == list(range(len(DAMAGED)))
    assert rules(rows) == [(rule, f"kafka frames/2@{broken['offset']}") for rule, broken in DAMAGED]
    for one in answered:
        assert (one.tier, one.engine, one.tasks, one.batch) == (Tier.CLUSTER, "onnx", WORK.tasks, len(DAMAGED))
        assert one.model == card.read(model_file("resnet20")).identity
        assert one.worker == f"{socket.gethostname()}:{os.getppid()}/{os.getpid()}"
        assert before_ns <= one.received_ns <= one.started_ns <= one.inferred_ns <= after_ns
    labels, scores = model.loaded("onnx", "resnet20", 1).classify(PIXELS[: len(DAMAGED)])
    assert [one.label for one in answered] == labels.tolist()
    np.testing.assert_allclose([one.score for one in answered], scores, atol=1e-6)


def test_a_batch_of_nothing_but_damaged_frames_is_rejected_and_the_next_one_answered() -> None:
    broken, after = classified(batch(*(one for _, one in DAMAGED)), batch(good(7), good(8)))
    assert [rule for rule, _ in rules(broken)] == [rule for rule, _ in DAMAGED]
    assert results(broken) == []
    assert [(one.number, one.batch) for one in results(after)] == [(7, 2), (8, 2)]


def test_each_arrow_batch_is_one_call_of_the_engine_and_one_batch_out() -> None:
    sizes = (1, 0, 40, 3)
    found = classified(*(batch(*(good(number) for number in range(size))) for size in sizes))
    assert [len(rows) for rows in found] == list(sizes)
    for size, rows in zip(sizes, found, strict=True):
        assert {one.batch for one in results(rows)} <= {size}
        assert len({(one.started_ns, one.inferred_ns) for one in results(rows)}) == min(size, 1)


def test_frames_of_another_tier_are_left_and_damaged_ones_rejected_all_the_same() -> None:
    seed, numbers = 7, range(40)
    strange = [broken for rule, broken in DAMAGED if rule not in {Rule.DIMENSIONS, Rule.PAYLOAD}]
    of_others = [number for number in numbers if split.owner(FRAME.camera, number, seed=seed) is Tier.GATEWAY]
    odd = row(value=encode_frame(replace(picture(of_others[0]), codec=Codec.PNG)), offset=106)
    mixed = batch(*(good(number) for number in numbers), *strange, odd)
    (rows,) = classified(mixed, work=replace(WORK, split_seed=seed))
    assert [one.number for one in results(rows)] == [number for number in numbers if number not in of_others]
    assert [rule for rule, _ in rules(rows)] == [Rule.EMPTY, Rule.MAGIC, Rule.CHECK, Rule.CAMERA]
    assert {one.batch for one in results(rows)} == {40 - len(of_others)}


def test_a_batch_of_nothing_but_another_tiers_frames_gives_no_row() -> None:
    theirs = [number for number in range(40) if split.owner(FRAME.camera, number, seed=7) is Tier.GATEWAY]
    ((), (one,)) = classified(
        batch(*map(good, theirs)), batch(good(theirs[0]), row(value=b"")), work=replace(WORK, split_seed=7)
    )
    assert one["topic"] == REJECTED


def test_a_task_without_batches_gives_none() -> None:
    assert classified() == []


def test_a_worker_loads_its_model_once() -> None:
    assert model.loaded("onnx", "resnet20", 1) is model.loaded("onnx", "resnet20", 1)
