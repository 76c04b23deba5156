"""Frames in: what the gateway opens, what it refuses by which rule, and which offsets it commits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import crc32c
import numpy as np
import pytest

from consumers.gateway.read import KafkaSource
from edgewise.arrival import opened
from edgewise.clock import ManualClock
from edgewise.errors import FrameError
from edgewise.kafka import Header, Record
from edgewise.messages import CHECK_BYTES, FRAME_MAX_BYTES, Codec, Rule, encode_frame, encode_result
from tests.fakes import FRAME, RESULT, MemoryConsumer, arrival

SHAPE: Final = (1, 2, 3)
WIRE: Final = encode_frame(FRAME)


def changed(**changes: object) -> bytes:
    return encode_frame(replace(FRAME, **changes))  # type: ignore[arg-type]


def resealed(content: bytes) -> bytes:
    return content + crc32c.crc32c(content).to_bytes(CHECK_BYTES, "big")


def test_a_frame_that_keeps_all_rules_is_opened() -> None:
    found = opened(arrival(WIRE, receipt=5), shape=SHAPE)
    assert found.frame == FRAME
    assert found.arrival.receipt == 5
    np.testing.assert_array_equal(found.image, [[[0, 127, 128], [255, 1, 2]]])


BROKEN: Final = {
    Rule.EMPTY: b"",
    Rule.TOO_LARGE: bytes(FRAME_MAX_BYTES + 1),
    Rule.MAGIC: b"GIF89a",
    Rule.SCHEMA: encode_result(RESULT),
    Rule.CHECK: WIRE[:-1],
    Rule.FIELDS: resealed(WIRE[: -CHECK_BYTES - 2]),
    Rule.CAMERA: changed(camera="Camera 7"),
    Rule.DIMENSIONS: changed(width=3),
    Rule.PAYLOAD: changed(codec=Codec.PNG),
}


@pytest.mark.parametrize("rule", list(Rule))
def test_each_rule_refuses_what_breaks_it(rule: Rule) -> None:
    with pytest.raises(FrameError) as caught:
        opened(arrival(BROKEN[rule]), shape=SHAPE)
    assert caught.value.rule == rule


def test_a_frame_of_another_camera_than_its_topic_says_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        opened(arrival(WIRE, camera="camera-8"), shape=SHAPE)
    assert str(caught.value) == "camera-name: 'camera-7' inside, 'camera-8' on the way"


def test_an_image_that_the_model_does_not_take_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        opened(arrival(WIRE), shape=(32, 32, 3))
    assert str(caught.value) == "dimensions: 2 x 1 pixels, the model takes 32 x 32"


def test_an_image_with_its_sides_swapped_is_refused() -> None:
    with pytest.raises(FrameError) as caught:
        opened(arrival(WIRE), shape=(2, 1, 3))
    assert caught.value.rule == Rule.DIMENSIONS


def record(offset: int, *, partition: int = 0, headers: Sequence[Header] = ()) -> Record:
    return Record("frames", partition, offset, "camera-7", WIRE, headers, appended_ns=3_000_000)


def test_a_record_becomes_an_arrival_that_says_where_it_came_from() -> None:
    consumer = MemoryConsumer([record(7, partition=2, headers=[("bridged_ns", b"1763000000125000001")])])
    (taken,) = KafkaSource(consumer, clock=ManualClock(start_ns=11)).take(limit=9, wait_s=0)
    assert (taken.camera, taken.wire, taken.origin) == ("camera-7", WIRE, "kafka frames/2@7")
    assert (taken.received_ns, taken.bridged_ns, taken.appended_ns) == (11, 1_763_000_000_125_000_001, 3_000_000)


@pytest.mark.parametrize("headers", [[], [("bridged_ns", b"soon")], [("bridged_ns", b"")], [("other", b"1")]])
def test_a_record_without_the_bridges_moment_is_taken_all_the_same(headers: list[Header]) -> None:
    (taken,) = KafkaSource(MemoryConsumer([record(0, headers=headers)]), clock=ManualClock()).take(limit=1, wait_s=0)
    assert taken.bridged_ns is None


def test_offsets_are_committed_for_the_finished_prefix_only() -> None:
    consumer = MemoryConsumer([record(5), record(6), record(9, partition=1), record(7)])
    source = KafkaSource(consumer, clock=ManualClock())
    receipts = [taken.receipt for taken in source.take(limit=9, wait_s=0)]
    source.finish(receipts[1:2])
    assert consumer.committed == {}
    source.finish(receipts[:1])
    assert consumer.committed == {("frames", 0): 7}
    source.finish(receipts[2:])
    assert consumer.committed == {("frames", 0): 8, ("frames", 1): 10}


def test_closing_a_source_leaves_the_group() -> None:
    consumer = MemoryConsumer([])
    KafkaSource(consumer, clock=ManualClock()).close(end_session=True)
    assert consumer.closed
