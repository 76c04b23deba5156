"""Any record in readable form: what can be read as its fields, what cannot as the reason."""

import json
from dataclasses import replace

import pytest

from edgewise import account, topics
from edgewise.account import Closing
from edgewise.arrival import BRIDGED_NS
from edgewise.kafka import Header, Record
from edgewise.messages import encode_frame, encode_result
from edgewise.tail import line, readable
from tests.fakes import FRAME, RESULT

APPENDED_NS = 1_763_000_000_123_000_000
PLACE = {"partition": 2, "offset": 7, "appended": "2025-11-13T02:13:20.123+00:00"}


def record(topic: str, value: bytes, *headers: Header, key: str = "camera-7") -> Record:
    return Record(topic, 2, 7, key, value, headers, APPENDED_NS)


def test_a_frame_shows_its_fields_and_not_its_pixels() -> None:
    found = readable(record(topics.FRAMES, encode_frame(FRAME), (BRIDGED_NS, b"1763000000125000001")))
    fields = {name: getattr(FRAME, name) for name in type(FRAME).__slots__}
    assert found == PLACE | fields | {"payload": "6 bytes", "bridged_ns": 1_763_000_000_125_000_001}


def test_a_frame_that_no_bridge_stamped_says_nothing_of_a_bridge() -> None:
    found = readable(record(topics.FRAMES, encode_frame(FRAME)))
    assert "bridged_ns" not in line(found, as_json=False)


@pytest.mark.parametrize("stamp", [b"yesterday", b"", b"\xff", b"-1", b"9" * 19, b"1" * 5000])
def test_a_stamp_that_is_no_number_is_passed_over(stamp: bytes) -> None:
    found = readable(record(topics.FRAMES, encode_frame(FRAME), (BRIDGED_NS, stamp)))
    assert (found["camera"], found["bridged_ns"]) == (FRAME.camera, None)


def test_a_result_shows_all_its_fields() -> None:
    found = readable(record(topics.RESULTS, encode_result(RESULT)))
    assert found == PLACE | {name: getattr(RESULT, name) for name in type(RESULT).__slots__}


def test_a_rejection_shows_its_reason_and_its_first_bytes() -> None:
    said = [("rule", b"check-sum"), ("by", b"gateway"), ("reason", b"\xff?")]
    found = readable(record(topics.REJECTED, bytes(range(100)), *said))
    assert found == PLACE | {"rule": "check-sum", "by": "gateway", "reason": "\ufffd?"} | {
        "first_bytes": bytes(range(16)).hex()
    }


def test_an_entry_shows_its_key_and_content() -> None:
    closing = Closing(run="demo", part="bridge", name="bridge", summary={"frames": 8})
    found = readable(record(topics.RUNS, account.encode(closing), key=account.key(closing)))
    assert found == PLACE | {"key": "demo/closing/bridge/bridge"} | closing.model_dump()


@pytest.mark.parametrize("topic", [topics.FRAMES, topics.RESULTS])
def test_what_is_no_message_says_which_rule_it_breaks(topic: str) -> None:
    assert readable(record(topic, b""))["unreadable"] == "empty: 0 bytes"
    assert readable(record(topic, b"hello"))["unreadable"].startswith("magic: starts with 6865")


def test_somebody_elses_entry_is_unreadable_and_harms_nobody() -> None:
    assert readable(record(topics.RUNS, b"\xff{", key="mine")) == PLACE | {"key": "mine", "unreadable": True}


@pytest.mark.parametrize("topic", [topics.FRAMES, topics.RESULTS, topics.REJECTED, topics.RUNS])
@pytest.mark.parametrize("as_json", [True, False])
def test_every_record_is_one_line(topic: str, *, as_json: bool) -> None:
    wires = {topics.FRAMES: encode_frame(FRAME), topics.RESULTS: encode_result(RESULT)}
    written = line(readable(record(topic, wires.get(topic, b"a\nb"), ("reason", b"x\ny"))), as_json=as_json)
    assert "\n" not in written


def test_a_record_cannot_command_the_terminal() -> None:
    found = readable(record(topics.REJECTED, b"", ("reason", b"\x1b[2J\x1b]0;owned\x07 \xc3\xa9")))
    assert line(found, as_json=False).endswith("reason=\\x1b[2J\\x1b]0;owned\\x07 \u00e9  first_bytes=")


def test_json_comes_back_whole() -> None:
    found = readable(record(topics.RESULTS, encode_result(RESULT)))
    assert json.loads(line(found, as_json=True)) == found


def test_for_people_what_is_not_known_is_left_out() -> None:
    written = line(readable(record(topics.RESULTS, encode_result(replace(RESULT, bridged_ns=None)))), as_json=False)
    assert written.startswith("partition=2  offset=7  appended=2025-11-13T02:13:20.123+00:00  run=2025-11-21-demo  ")
    assert "bridged_ns" not in written
    assert "None" not in written
