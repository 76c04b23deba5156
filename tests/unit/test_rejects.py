"""What breaks a rule goes to frames-rejected, and says why."""

import hashlib
from dataclasses import replace

import pytest

from edgewise.errors import FrameError
from edgewise.messages import HEADER_BYTES, Rule, encode_frame, encode_result
from edgewise.peek import run_of
from edgewise.rejects import KEPT_BYTES, reject
from edgewise.topics import REJECTED
from tests.fakes import FRAME, RESULT, MemoryProducer, Sent, arrival


def rejected(wire: bytes, *, camera: str = "camera-7") -> Sent:
    producer = MemoryProducer()
    error = FrameError(Rule.MAGIC, "starts with ffd8 instead of c301")
    reject(producer, arrival(wire, camera=camera, receipt=12), error=error, by="gateway")
    (sent,) = producer.sent
    return sent


def test_a_rejection_carries_the_bytes_and_what_is_known_of_them() -> None:
    sent = rejected(b"\xff\xd8 a picture")
    assert (sent.topic, sent.key, sent.value) == (REJECTED, "camera-7", b"\xff\xd8 a picture")
    assert sent.headers == {
        "rule": b"magic",
        "reason": b"magic: starts with ffd8 instead of c301",
        "size_bytes": b"12",
        "sha256": hashlib.sha256(b"\xff\xd8 a picture").hexdigest().encode(),
        "from": b"mqtt cameras/camera-7/frames",
        "by": b"gateway",
    }


def test_a_rejection_is_stored_under_the_arrivals_receipt() -> None:
    assert rejected(b"x").receipt == 12


@pytest.mark.parametrize(("size_bytes", "kept_bytes"), [(0, 0), (KEPT_BYTES, KEPT_BYTES), (KEPT_BYTES + 1, KEPT_BYTES)])
def test_at_most_512_kib_are_kept_and_the_headers_say_what_the_rest_was(size_bytes: int, kept_bytes: int) -> None:
    wire = bytes(index % 251 for index in range(size_bytes))
    sent = rejected(wire)
    assert sent.value == wire[:kept_bytes]
    assert sent.headers["size_bytes"] == str(size_bytes).encode()
    assert sent.headers["sha256"] == hashlib.sha256(wire).hexdigest().encode()


def test_the_key_of_a_rejection_is_never_longer_than_a_cameras_name() -> None:
    assert rejected(b"x", camera="kamera ä" * 50).key == ("kamera ä" * 50)[:64]


def test_a_run_is_read_from_what_can_be_read_and_from_nothing_else() -> None:
    for wire in (encode_frame(FRAME), encode_result(RESULT)):
        assert run_of(wire) == FRAME.run
        assert {run_of(wire[:length]) for length in range(HEADER_BYTES + 1 + len(FRAME.run))} == {None}
    assert run_of(encode_frame(replace(FRAME, run="no run's name"))) is None
    assert run_of(encode_frame(FRAME)[:HEADER_BYTES] + b"\xff" * 20) is None
