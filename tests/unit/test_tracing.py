"""One frame in N is followed: what travels with it, what the ledger makes of it, and that the others carry nothing."""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any, Final

import mqtt5
import pytest

from brokers.bridge.outbox import KafkaOutbox
from consumers.ledger.summary import STAGES
from consumers.ledger.traces import Traces
from edgewise import addresses, otlp, topics, tracing
from edgewise.arrival import BRIDGED_NS
from edgewise.clock import MILLISECOND_NS, ManualClock
from edgewise.errors import ConfigError, MissingError
from edgewise.messages import Tier, encode_frame
from edgewise.mqtt import outbox as mqtt_outbox
from edgewise.otlp import Span
from edgewise.tracing import FORM, TRACEPARENT, carried, is_followed, sampled, traceparent
from producers.camera import camera as cameras
from tests.fakes import FRAME, MemoryProducer, arrival
from tests.real import eventually
from tests.unit.test_camera import DUE_NS, Scene
from tests.unit.test_ledger import RUN, Tale

TRACE: Final = traceparent("first", "camera-7", 41)
CAMERA: Final = "yard-0"
BOTH: Final = tuple(Tier)


class Kept:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def write(self, spans: Sequence[Span]) -> None:
        """See Writer."""
        self.spans += spans

    def close(self) -> None:
        """See Writer."""


def followed(tale: Tale, number: int, *, trace: str | None = None) -> None:
    """Let Kafka have a frame that is followed."""
    due_ns, _ = tale.schedule(CAMERA, number)
    wire = encode_frame(replace(FRAME, run=RUN, camera=CAMERA, number=number, due_ns=due_ns, sent_ns=due_ns + 500_000))
    headers = [(BRIDGED_NS, b"%d" % (due_ns + MILLISECOND_NS))]
    headers.append((TRACEPARENT, (trace or traceparent(RUN, CAMERA, number)).encode()))
    tale.add(topics.FRAMES, wire, at_ns=due_ns + 2 * MILLISECOND_NS, headers=headers)


def test_one_frame_in_n_is_followed_and_never_the_first_of_many() -> None:
    assert [number for number in range(10) if is_followed(number, every=3)] == [2, 5, 8]
    assert [number for number in range(3) if is_followed(number, every=1)] == [0, 1, 2]


def test_a_trace_has_the_name_that_w3c_wants_and_each_frame_its_own() -> None:
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", TRACE)
    assert traceparent("first", "camera-7", 41) == TRACE
    others = {
        traceparent(*one) for one in (("second", "camera-7", 41), ("first", "camera-8", 41), ("first", "camera-7", 4))
    }
    assert len({one.split("-")[1] for one in others | {TRACE}}) == 4


@pytest.mark.parametrize(
    "value",
    ["", "01" + TRACE[2:], TRACE.upper(), TRACE + "0", TRACE[:-1], f"00-{'0' * 32}-{'a' * 16}-01", "x" * 60_000],
)
def test_what_a_stranger_calls_a_trace_is_not_passed_on(value: str) -> None:
    assert carried([("other", TRACE), (TRACEPARENT, value)]) is None
    assert carried([(TRACEPARENT, value), (TRACEPARENT, TRACE)]) == TRACE
    assert sampled(value.encode()) is None


def test_a_trace_that_nobody_asked_to_be_kept_is_passed_on_and_not_told() -> None:
    unsampled = TRACE[:-2] + "00"
    assert carried([(TRACEPARENT, unsampled)]) == unsampled
    assert (sampled(unsampled.encode()), sampled(b"\xff"), sampled(None)) == (None, None, None)
    found = FORM.fullmatch(TRACE)
    assert found is not None
    assert sampled(TRACE.encode()) == (found["trace"], found["span"])


def test_a_camera_that_follows_none_makes_no_name_and_sends_what_it_always_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> str:
        raise AssertionError("asked")

    monkeypatch.setattr(cameras, "traceparent", never)
    monkeypatch.setattr(cameras, "is_followed", never)
    scene = Scene()
    for due_ns in DUE_NS:
        scene.turn_at(due_ns)
    assert (len(scene.numbers()), scene.outbox.traces) == (len(DUE_NS), {})


def test_a_message_that_is_not_followed_has_no_properties() -> None:
    plain = mqtt5.PublishPacket("t", b"x", qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=7).write()
    assert mqtt_outbox._publish("t", 7, b"x", trace=None) == plain  # noqa: SLF001 - the bytes are the point
    named = len(TRACEPARENT) + len(TRACE) + 5
    assert len(mqtt_outbox._publish("t", 7, b"x", trace=TRACE)) == len(plain) + named  # noqa: SLF001 - the same


def test_a_camera_names_each_nth_frame_and_the_same_when_it_sends_it_again() -> None:
    scene = Scene()
    scene.camera.follow(every=2)
    scene.turn_at(DUE_NS[1])
    scene.answer(mqtt_outbox.Answer.UNHEARD)
    scene.turn_at(DUE_NS[1] + cameras.AGAIN_NS)
    assert scene.numbers() == [0, 1, 2, 0, 1]
    assert scene.outbox.traces == {1: traceparent("run-1", "cam-1", 1)}
    for due_ns in DUE_NS[3:]:
        scene.turn_at(due_ns)
    assert set(scene.outbox.traces) == {1, 3, 5}


def test_the_bridge_passes_on_what_the_message_carried_and_nothing_else() -> None:
    producer = MemoryProducer()
    outbox = KafkaOutbox(producer, clock=ManualClock())
    outbox.store([arrival(b"1"), replace(arrival(b"2"), trace=TRACE)])
    plain, named = producer.sent
    assert set(plain.headers) == {BRIDGED_NS}
    assert named.headers == {BRIDGED_NS: b"%d" % FRAME.sent_ns, TRACEPARENT: TRACE.encode()}


def test_the_spans_of_a_frame_share_its_trace_and_nest_in_the_order_of_the_stages() -> None:
    tale, kept = Tale(), Kept()
    traces = Traces(tale.collected, tiers=BOTH, out=kept)
    followed(tale, 3)
    tale.frame(4)
    for tier in BOTH:
        tale.result(4, tier=tier)
    tale.result(3, tier=Tier.GATEWAY)
    traces.fold()
    assert kept.spans == []
    tale.result(3, tier=Tier.CLUSTER)
    traces.fold()
    traces.end()
    spans, (trace, whole) = kept.spans, sampled(traceparent(RUN, CAMERA, 3).encode()) or ("", "")
    assert {span.trace for span in spans} == {trace}
    by_id = {span.id: span for span in spans}
    assert len(by_id) == len(spans) == 3 + 2 * (1 + len(STAGES) - 1)
    outermost = [span for span in spans if not span.parent]
    assert [(span.id, span.name, span.error) for span in outermost] == [(whole, "frame", "")]
    assert outermost[0].facts == {"edgewise.run": RUN, "edgewise.camera": CAMERA, "edgewise.number": 3}
    for span in spans:
        assert span.start_ns <= span.end_ns, span
        around = by_id.get(span.parent, span)
        assert around.start_ns <= span.start_ns <= span.end_ns <= around.end_ns, span
    for tier in BOTH:
        (own,) = (span for span in spans if span.name == tier)
        stages = [span for span in spans if span.parent == own.id]
        assert [span.name for span in stages] == ["transport", "queue", "inference", "result"]
        assert {span.service for span in [own, *stages]} == {tier}
        for before, after in pairwise(stages):
            assert before.end_ns == after.start_ns
        assert (own.start_ns, own.end_ns) == (stages[0].start_ns, stages[-1].end_ns)


def test_a_frame_that_was_not_answered_is_told_at_the_end_with_what_is_missing() -> None:
    tale, kept = Tale(), Kept()
    traces = Traces(tale.collected, tiers=BOTH, out=kept)
    followed(tale, 2)
    followed(tale, 3)
    tale.result(2, tier=Tier.GATEWAY)
    traces.end()
    errors = {span.facts["edgewise.number"]: span.error for span in kept.spans if not span.parent}
    assert errors == {2: "no result from cluster", 3: "no result from gateway and cluster"}
    assert [span.name for span in kept.spans if span.trace == traceparent(RUN, CAMERA, 3)[3:35]] == ["frame", "bridge"]


def test_of_tiers_that_share_the_frames_one_answer_is_all() -> None:
    tale, kept = Tale(), Kept()
    tale.collected.split_seed = 1
    traces = Traces(tale.collected, tiers=BOTH, out=kept)
    followed(tale, 2)
    tale.result(2, tier=Tier.CLUSTER)
    traces.fold()
    assert [span.error for span in kept.spans if not span.parent] == [""]


# --- as collectors take them ----------------------------------------------------------------------

SPAN: Final = Span(
    service="bridge",
    name="bridge",
    trace="a" * 32,
    id="b" * 16,
    parent="c" * 16,
    start_ns=7,
    end_ns=5,
    facts={"edgewise.number": 3, "edgewise.camera": "gate-1"},
    error="no result",
)


def test_a_request_is_what_otlp_says() -> None:
    (resource,) = json.loads(otlp.request([SPAN]))["resourceSpans"]
    assert resource["resource"]["attributes"][0] == {"key": "service.name", "value": {"stringValue": "bridge"}}
    (scope,) = resource["scopeSpans"]
    assert scope["spans"] == [
        {
            "traceId": "a" * 32,
            "spanId": "b" * 16,
            "parentSpanId": "c" * 16,
            "name": "bridge",
            "kind": 1,
            "startTimeUnixNano": "7",
            "endTimeUnixNano": "7",
            "attributes": [
                {"key": "edgewise.number", "value": {"intValue": "3"}},
                {"key": "edgewise.camera", "value": {"stringValue": "gate-1"}},
            ],
            "status": {"code": 2, "message": "no result"},
        }
    ]


def test_a_file_has_one_request_a_line(tmp_path: Path) -> None:
    with otlp.writing(str(tmp_path / "traces.jsonl")) as writer:
        assert writer is not None
        for _ in range(3):
            writer.write([SPAN])
    lines = (tmp_path / "traces.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(otlp.request([SPAN]))] * 3
    with otlp.writing("") as none:
        assert none is None


def test_a_place_that_takes_nothing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "no" / "traces.jsonl"
    with (
        pytest.raises(MissingError, match=f"--trace-out {missing} cannot be written: No such file"),
        otlp.writing(str(missing)),
    ):
        pytest.fail("there was such a folder")
    for wrong in ("http://", "http://host:port", "https://[::1"):
        with (
            pytest.raises(ConfigError, match="is no collector's address; try http://localhost:4318"),
            otlp.writing(wrong),
        ):
            pytest.fail(wrong)
    with otlp.writing("/dev/full") as writer:
        assert writer is not None
        writer.write([SPAN])
        writer.write([SPAN])
    said = "--trace-out /dev/full takes no more: No space left on device; the traces from here on are lost\n"
    assert capsys.readouterr().err == said


@contextmanager
def collector(*, answer: int) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Serve what takes traces; give its address and what it was sent."""
    taken: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            taken.append((f"{self.path} {self.headers['Content-Type']}", body))
            self.send_response(answer)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((addresses.LOOPBACK, 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{addresses.LOOPBACK}:{server.server_port}", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_collector_gets_all_before_the_writer_is_closed() -> None:
    with collector(answer=200) as (address, taken):
        with otlp.writing(address) as writer:
            assert writer is not None
            writer.write([SPAN])
            writer.write([SPAN])
        assert taken == [("/v1/traces application/json", json.loads(otlp.request([SPAN])))] * 2


def test_a_collector_that_takes_nothing_is_said_and_holds_up_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with collector(answer=503) as (address, taken), otlp.writing(f"{address}/mine") as writer:
        assert writer is not None
        writer.write([SPAN])
        said: list[str] = []

        def heard() -> bool:
            said.append(capsys.readouterr().err)
            return any(said)

        eventually(heard, within_s=10)
    assert [path for path, _ in taken] == ["/mine application/json"]
    assert (
        "".join(said)
        == f"traces: {address}/mine does not take them: HTTP Error 503: Service Unavailable; these are lost\n"
    )


def test_ids_come_from_the_names_alone() -> None:
    assert tracing.span_id("a", "b", "c") == tracing.span_id("a", "b", "c") != tracing.span_id("a", "b")
