"""Frame and Result on the wire: frozen bytes, and every way of not being one of them."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Final

import crc32c
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgewise import messages
from edgewise.errors import FrameError
from edgewise.messages import (
    CHECK_BYTES,
    FRAME_HEADER,
    FRAME_MAX_BYTES,
    HEADER_BYTES,
    RESULT_HEADER,
    Codec,
    Frame,
    Result,
    Rule,
    Tier,
    decode_frame,
    decode_result,
    encode_frame,
    encode_result,
)
from tests.fakes import FRAME, RESULT

GOLDEN_FRAME: Final = (
    "c301b56b09f20dd8cfcc1e323032352d31312d32312d64656d6f1063616d6572612d37520e6369666172313008746573749e9c0104"
    "0200aab4faa599cab7f730fedbbca699cab7f7300c007f80ff0102ee5e8ccf"
)
GOLDEN_RESULT: Final = (
    "c301a664c62025a2c9dd1e323032352d31312d32312d64656d6f1063616d6572612d37520e6369666172313008746573749e9c0102"
    "0a6b657261732a7265736e6574323040303132333435363738396162120000403faab4faa599cab7f730fedbbca699cab7f7300282"
    "e5b6a799cab7f73000849299ac99cab7f730869b93ad99cab7f73088f5d7b699cab7f730f60180010410776f726b65722d31"
)
WIRE: Final = encode_frame(FRAME)
RESULT_WIRE: Final = encode_result(RESULT)

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
LONGS = st.integers(-(2**63), 2**63 - 1)
PLACES = st.integers(0, 2**63 - 1)
INTS = st.integers(-(2**31), 2**31 - 1)
CAMERAS = st.from_regex(messages.CAMERA_NAME, fullmatch=True)
FRAMES = st.builds(
    Frame,
    run=TEXTS,
    camera=CAMERAS,
    number=PLACES,
    dataset=TEXTS,
    split=TEXTS,
    image=PLACES,
    width=st.integers(1, 2**31 - 1),
    height=st.integers(1, 2**31 - 1),
    codec=st.sampled_from(Codec),
    due_ns=LONGS,
    sent_ns=LONGS,
    payload=st.binary(max_size=200),
)
RESULTS = st.builds(
    Result,
    run=TEXTS,
    camera=CAMERAS,
    number=LONGS,
    dataset=TEXTS,
    split=TEXTS,
    image=LONGS,
    tier=st.sampled_from(Tier),
    engine=TEXTS,
    model=TEXTS,
    label=INTS,
    score=st.floats(width=32, allow_nan=False),
    due_ns=LONGS,
    sent_ns=LONGS,
    bridged_ns=st.none() | LONGS,
    appended_ns=st.none() | LONGS,
    received_ns=LONGS,
    started_ns=LONGS,
    inferred_ns=LONGS,
    size_bytes=INTS,
    batch=INTS,
    tasks=INTS,
    worker=TEXTS,
)


def sealed(body: bytes) -> bytes:
    """Give bytes the header and the check sum of a genuine frame."""
    content = FRAME_HEADER + body
    return content + crc32c.crc32c(content).to_bytes(CHECK_BYTES, "big")


def rule_of(wire: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode_frame(wire)
    assert caught.value.rule in list(Rule)
    return caught.value.rule


def rule_of_result(wire: bytes) -> str:
    with pytest.raises(FrameError) as caught:
        decode_result(wire)
    return caught.value.rule


def test_version_1_bytes_never_change() -> None:
    assert WIRE.hex() == GOLDEN_FRAME
    assert RESULT_WIRE.hex() == GOLDEN_RESULT


def test_version_1_bytes_are_read_for_ever() -> None:
    assert decode_frame(bytes.fromhex(GOLDEN_FRAME)) == FRAME
    assert decode_result(bytes.fromhex(GOLDEN_RESULT)) == RESULT


def test_version_1_fingerprints_never_change() -> None:
    assert FRAME_HEADER.hex() == "c301b56b09f20dd8cfcc"
    assert RESULT_HEADER.hex() == "c301a664c62025a2c9dd"


@pytest.mark.parametrize(("name", "cls", "extra"), [("frame", Frame, {"check"}), ("result", Result, set())])
def test_the_schema_has_the_fields_of_the_class(name: str, cls: type[Frame | Result], extra: set[str]) -> None:
    schema = json.loads((Path(messages.__file__).parent / "schemas" / f"{name}.avsc").read_text())
    assert {field["name"] for field in schema["fields"]} - extra == {field.name for field in fields(cls)}


def test_no_label_travels_with_a_frame() -> None:
    assert "label" not in {field.name for field in fields(Frame)}


@given(FRAMES)
def test_a_frame_survives_the_way(frame: Frame) -> None:
    assert decode_frame(encode_frame(frame)) == frame


@given(RESULTS)
def test_a_result_survives_the_way(result: Result) -> None:
    assert decode_result(encode_result(result)) == result


def test_a_frame_may_have_exactly_the_largest_size() -> None:
    overhead = len(encode_frame(replace(FRAME, payload=bytes(900_000)))) - 900_000
    wire = encode_frame(replace(FRAME, payload=bytes(FRAME_MAX_BYTES - overhead)))
    assert len(wire) == FRAME_MAX_BYTES
    assert decode_frame(wire).payload == bytes(FRAME_MAX_BYTES - overhead)


@given(st.binary(max_size=300))
def test_noise_is_refused_by_a_rule(noise: bytes) -> None:
    assert rule_of(noise) in {Rule.EMPTY, Rule.MAGIC, Rule.SCHEMA}


@given(st.binary(max_size=300))
@example(b"\x01" * 200)  # negative lengths
@example(b"\xff" * 200)  # a number that never ends
@example(b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f" + b"x" * 50)  # a string of 2**62 bytes
def test_noise_with_a_genuine_header_and_check_sum_is_refused_by_a_rule(noise: bytes) -> None:
    assert rule_of(sealed(noise)) in set(Rule) - {Rule.EMPTY, Rule.MAGIC, Rule.SCHEMA, Rule.CHECK}


@given(st.data())
def test_a_genuine_frame_with_a_few_bytes_changed_and_sealed_again_never_breaks_anything(data: st.DataObject) -> None:
    body = bytearray(WIRE[HEADER_BYTES:-CHECK_BYTES])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    wire = sealed(bytes(body))
    try:
        decode_frame(wire)
    except FrameError as error:
        assert error.rule in {Rule.FIELDS, Rule.CAMERA, Rule.DIMENSIONS}  # noqa: PT017 - it may as well be legal


@given(st.binary(max_size=300))
def test_noise_with_a_results_header_is_refused_by_a_rule(noise: bytes) -> None:
    assert rule_of_result(RESULT_HEADER + noise) == Rule.FIELDS


@pytest.mark.parametrize("length", range(len(WIRE)))
def test_a_frame_cut_off_anywhere_is_refused(length: int) -> None:
    assert rule_of(WIRE[:length]) in {Rule.EMPTY, Rule.MAGIC, Rule.SCHEMA, Rule.CHECK}


@pytest.mark.parametrize("length", range(len(RESULT_WIRE)))
def test_a_result_cut_off_anywhere_is_refused(length: int) -> None:
    assert rule_of_result(RESULT_WIRE[:length]) in {Rule.EMPTY, Rule.MAGIC, Rule.SCHEMA, Rule.FIELDS}


@pytest.mark.parametrize("place", range(len(WIRE)))
def test_a_frame_with_any_bit_flipped_is_refused(place: int) -> None:
    for bit in range(8):
        damaged = bytearray(WIRE)
        damaged[place] ^= 1 << bit
        assert rule_of(bytes(damaged)) in {Rule.MAGIC, Rule.SCHEMA, Rule.CHECK}


@given(st.binary(min_size=1, max_size=50))
def test_bytes_after_the_end_are_refused(more: bytes) -> None:
    assert rule_of(WIRE + more) == Rule.CHECK
    assert rule_of(sealed(WIRE[HEADER_BYTES:-CHECK_BYTES] + more)) in {Rule.FIELDS, Rule.CHECK}
    assert rule_of_result(RESULT_WIRE + more) == Rule.FIELDS


BODY: Final = WIRE[HEADER_BYTES:-CHECK_BYTES]
OTHER_SCHEMA: Final = "schema: fingerprint a664c62025a2c9dd, known is b56b09f20dd8cfcc"


@pytest.mark.parametrize(
    ("wire", "text"),
    [
        (b"", "empty: 0 bytes"),
        (bytes(FRAME_MAX_BYTES + 1), "too-large: 1000001 bytes, 1000000 allowed"),
        (b"\xff\xd8\xff\xe0 a picture", "magic: starts with ffd8 instead of c301"),
        (RESULT_WIRE, OTHER_SCHEMA),
        (WIRE[:-1] + b"\0", "check-sum: ee5e8c00 at the end, ee5e8ccf by the bytes: changed or cut off"),
        (sealed(BODY + b"\0"), "fields: 1 bytes after the last one"),
        (encode_frame(replace(FRAME, number=-1)), "fields: number -1, image 9999: both count from 0"),
        (encode_frame(replace(FRAME, image=-2)), "fields: number 41, image -2: both count from 0"),
        (encode_frame(replace(FRAME, camera="Cam/1")), "camera-name: 'Cam/1' is not [a-z0-9-]{1,64}"),
        (encode_frame(replace(FRAME, camera="")), "camera-name: '' is not [a-z0-9-]{1,64}"),
        (encode_frame(replace(FRAME, width=0)), "dimensions: 0 x 1 pixels"),
        (encode_frame(replace(FRAME, height=-5)), "dimensions: 2 x -5 pixels"),
    ],
)
def test_each_rule_is_named_with_what_was_found(wire: bytes, text: str) -> None:
    with pytest.raises(FrameError) as caught:
        decode_frame(wire)
    assert str(caught.value) == text


def test_fields_that_end_too_early_are_refused() -> None:
    assert rule_of(sealed(BODY[:-20])) == Rule.FIELDS


@pytest.mark.parametrize("name", ["a" * 65, "camera_1", "camera 1", "camera-1\n", "kamera-ä", "+", "#", "a/b"])
def test_a_name_that_no_camera_may_have_is_refused(name: str) -> None:
    assert rule_of(encode_frame(replace(FRAME, camera=name))) == Rule.CAMERA


@pytest.mark.parametrize("name", ["a", "0", "camera-1", "a" * 64])
def test_a_name_that_a_camera_may_have_is_taken(name: str) -> None:
    assert decode_frame(encode_frame(replace(FRAME, camera=name))).camera == name


def test_a_result_is_no_frame_and_a_frame_is_no_result() -> None:
    assert rule_of(RESULT_WIRE) == Rule.SCHEMA
    assert rule_of_result(WIRE) == Rule.SCHEMA
