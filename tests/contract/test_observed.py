"""A real Prometheus over real parts: a healthy run, a drill for each alert, traces, and JSON for every word."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from edgewise import addresses, kafka, topics
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.messages import Tier, decode_frame
from edgewise.processes import Child
from edgewise.tracing import TRACEPARENT, sampled, traceparent
from tests.observing import FOLDER, Prometheus, prometheus
from tests.peer import peer
from tests.real import eventually
from tests.system import RUN, UNTIMED, System, running

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

PARTS: Final = ("bridge", "gateway", "cluster", "ledger", "fleet")
CAMERAS: Final = 4
RATE_HZ: Final = 15
BROKEN: Final = "broken-0"
MANY: Final = 40
"""Damaged frames: more than are said one by one."""
FOLLOWED: Final = 10
"""One frame in so many."""
WITHIN_S: Final = 120.0
SOON: Final = {"[1m]": "[10s]", "for: 1m": "for: 3s", "for: 30s": "for: 3s"}
"""Alerts that hurry: the drills are to take seconds."""
MAY_BE_TRUE: Final = {
    "EdgewiseGeneratorLate": "sum(edgewise_frames_late_total) > 0.01 * sum(edgewise_frames_sent_total{part='fleet'})",
    "EdgewiseGeneratorDrops": "sum(edgewise_frames_dropped_total) > 0",
    "EdgewiseDiskNearlyFull": "edgewise_disk_free_bytes < 0.05 * edgewise_disk_size_bytes",
}
"""What a machine that is busy or full may rightly be told, and by what it shows that it is."""


@dataclass
class Observed:
    """A system under a Prometheus' eyes."""

    system: System
    parts: dict[str, Child]
    prometheus: Prometheus

    def await_alert(self, name: str, parts: set[str]) -> None:
        """Wait until an alert fires for these."""
        eventually(lambda: self.prometheus.alerts().get(name) == parts, within_s=WITHIN_S, look_again_s=0.5)


def now_s() -> float:
    return SystemClock().now_ns() / SECOND_NS


def hurried() -> str:
    """Give our alerts, with less patience."""
    text = (FOLDER / "alerts.yml").read_text()
    for patient, hasty in SOON.items():
        assert patient in text
        text = text.replace(patient, hasty)
    return text


@contextmanager
def stopped(*ones: psutil.Process) -> Iterator[None]:
    """Have processes stand still for a while."""
    for one in ones:
        one.suspend()
    try:
        yield
    finally:
        for one in ones:
            one.resume()


def family(child: Child) -> list[psutil.Process]:
    """Give a process and all that it started."""
    own = psutil.Process(child.pid)
    return [own, *own.children(recursive=True)]


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Bring up everything, with a fleet of two processes that sends until it is stopped."""
    folder = tmp_path_factory.mktemp("observed")
    ports = {part: addresses.free_port() for part in PARTS}
    with running(folder) as system, prometheus(folder / "prometheus", ports, rules=hurried()) as watcher:
        own = {
            "bridge": [],
            "gateway": ["--engine", "onnx", "--window", "200"],
            "cluster": ["--engine", "none", "--master", "local[2]", "--checkpoint", str(folder / "checkpoint")],
            "ledger": [
                *("--tiers", "gateway,cluster", "--out", str(folder / "account"), *UNTIMED),
                *("--trace-out", str(folder / "traces.jsonl")),
            ],
            "fleet": [
                *("--cameras", str(CAMERAS), "--rate-hz", str(RATE_HZ), "--frames", "9000", "--processes", "2"),
                *("--wait-for", "bridge,gateway,cluster", "--wait-s", str(WITHIN_S), "--trace-every", str(FOLLOWED)),
            ],
        }
        parts = {
            part: system.start(
                part,
                *("--run", RUN, "--metrics-port", str(ports[part]), "--log", "json", "--format", "json"),
                *own[part],
            )
            for part in PARTS
        }
        flowing = 'sum(edgewise_results_total{part="ledger",tier="cluster"}) > 0'
        eventually(
            lambda: watcher.values(flowing) or not all(one.running() for one in parts.values()), within_s=WITHIN_S
        )
        assert [part for part, one in parts.items() if not one.running()] == [], parts["fleet"].tail(lines=20)
        yield Observed(system, parts, watcher)


def said(child: Child) -> list[dict[str, Any]]:
    """Read every line as JSON; give those of talk."""
    lines = [json.loads(line) for line in child.log.read_text().splitlines()]
    return [line for line in lines if "level" in line]


def test_a_healthy_run_has_data_in_every_panel_and_raises_nothing(observed: Observed) -> None:
    watched = observed.prometheus

    def answers_for(so_long_s: int) -> list[float]:
        return watched.values(f'edgewise_results_total{{part="ledger",tier="cluster"}} offset {so_long_s}s > 0')

    # From when on the alerts look back on nothing but what is steady, and have had patience ...
    eventually(lambda: answers_for(15), within_s=WITHIN_S, look_again_s=0.5)
    began_s = now_s()
    eventually(lambda: not watched.without_data(from_s=began_s, to_s=now_s()), within_s=WITHIN_S, look_again_s=1)
    eventually(lambda: answers_for(20), within_s=WITHIN_S, look_again_s=0.5)  # ... for some time
    # The fleet's two processes are told as one.
    assert watched.values("edgewise_cameras_connected") == [CAMERAS]
    sent, taken = (watched.value(f'edgewise_frames_sent_total{{part="{part}"}}') for part in ("fleet", "bridge"))
    assert 0 < sent <= taken + watched.value('edgewise_unacknowledged_frames{part="bridge"}') + RATE_HZ * CAMERAS * 5
    for where in ('part="bridge"', 'part="gateway"', 'part="cluster"'):
        each = watched.value(f"edgewise_received_bytes_total{{{where}}} / edgewise_frames_received_total{{{where}}}")
        assert 3000 < each < 3400, where  # raw frames have 3,200
    groups = watched.asks("rules")["groups"]
    assert {rule["health"] for group in groups for rule in group["rules"]} == {"ok"}
    true = {name for name, shown in MAY_BE_TRUE.items() if watched.values(shown)}
    assert watched.fired(from_s=began_s, to_s=now_s()) <= true


def test_one_frame_in_n_is_followed_through_every_stage_and_the_others_carry_nothing(observed: Observed) -> None:
    system = observed.system
    with peer(system.mqtt.address) as reader:
        reader.listen("cameras/+/frames")
        eventually(lambda: len(reader.heard) > 3 * FOLLOWED * CAMERAS, within_s=WITHIN_S)
        heard = list(zip(reader.payloads(), reader.properties, strict=False))
    frames = {
        (frame.camera, frame.number): sent for frame, sent in ((decode_frame(wire), sent) for wire, sent in heard)
    }
    chosen = {key for key in frames if key[1] % FOLLOWED == FOLLOWED - 1}
    assert len(chosen) >= CAMERAS
    for key, sent in frames.items():
        assert sent == ([(TRACEPARENT, traceparent(RUN, *key))] if key in chosen else []), key

    in_kafka: dict[tuple[str, int], dict[str, bytes]] = {}
    with closing(kafka.consumer(system.kafka.address, topics=[topics.FRAMES])) as consumer:

        def all_there() -> bool:
            for record in consumer.take(limit=10_000, wait_s=0.1):
                frame = decode_frame(record.value)
                in_kafka[frame.camera, frame.number] = dict(record.headers)
            return in_kafka.keys() >= frames.keys()

        eventually(all_there, within_s=WITHIN_S)
    for key, sent in frames.items():
        assert in_kafka[key].get(TRACEPARENT) == (sent[0][1].encode() if sent else None), key

    wanted = dict(sampled(traceparent(RUN, *key).encode()) or ("", "") for key in chosen)
    written = system.folder / "traces.jsonl"
    eventually(lambda: spans(written).keys() >= wanted.keys(), within_s=WITHIN_S, look_again_s=0.5)
    for trace, whole in wanted.items():
        assert_one_way(spans(written)[trace], whole)


def spans(written: Path) -> dict[str, list[dict[str, Any]]]:
    """Read the spans of each trace, each with its part; the last line may be under way."""
    found: dict[str, list[dict[str, Any]]] = {}
    whole, _, _ = written.read_text().rpartition("\n")
    for line in whole.splitlines():
        for resource in json.loads(line)["resourceSpans"]:
            part = resource["resource"]["attributes"][0]["value"]["stringValue"]
            for span in (one for scope in resource["scopeSpans"] for one in scope["spans"]):
                found.setdefault(span["traceId"], []).append(span | {"part": part})
    return found


def assert_one_way(trace: list[dict[str, Any]], whole: str) -> None:
    """Look whether the spans of a frame lie in one another and follow one another, on this one clock."""
    by_id = {span["spanId"]: span for span in trace}
    assert len(by_id) == len(trace)
    assert by_id[whole]["name"] == "frame"
    assert not any("status" in span for span in trace)
    assert {span["part"] for span in trace} == {"fleet", "bridge", *Tier}
    millisecond = 1_000_000  # Kafka's stamps are cut off there
    for span in trace:
        around = by_id[span.get("parentSpanId", whole)]
        begins, ends = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        assert int(around["startTimeUnixNano"]) <= begins <= ends <= int(around["endTimeUnixNano"]) + millisecond, span
    for tier in Tier:
        (own,) = (span for span in trace if span["name"] == tier)
        stages = [span for span in trace if span.get("parentSpanId") == own["spanId"]]
        assert [span["name"] for span in stages] == ["transport", "queue", "inference", "result"]
        moments = [int(span["startTimeUnixNano"]) for span in stages]
        assert moments == sorted(moments)


# --- drills -----------------------------------------------------------------------------------------


def test_damaged_frames_are_told_by_part_and_rule(observed: Observed) -> None:
    with peer(observed.system.mqtt.address) as other:
        other.publish(f"cameras/{BROKEN}/frames", *(b"no frame %d" % number for number in range(MANY)))
    rejected = 'sum by (part) (edgewise_rejected_total{rule="magic",part=~"gateway|cluster"})'
    eventually(lambda: observed.prometheus.values(rejected) == [MANY, MANY], within_s=WITHIN_S)
    observed.await_alert("EdgewiseRejects", {"gateway", "cluster"})


def test_cameras_that_stood_still_are_late_and_drop_frames(observed: Observed) -> None:
    with stopped(*family(observed.parts["fleet"])):
        # What could not be sent within five seconds is dropped.
        eventually(lambda: observed.prometheus.values('max_over_time(up{job="fleet"}[6s]) == 0'), within_s=WITHIN_S)
    observed.await_alert("EdgewiseGeneratorDrops", {""})
    observed.await_alert("EdgewiseGeneratorLate", {""})


def test_a_cluster_that_hangs_gets_nothing_and_falls_behind(observed: Observed) -> None:
    # Its Java stands still; its driver's Python, and so its endpoint, does not.
    java = [one for one in family(observed.parts["cluster"]) if one.name() == "java"]
    assert java
    with stopped(*java):
        observed.await_alert("EdgewiseNothingArrives", {"cluster"})
        observed.await_alert("EdgewiseLagGrows", {"cluster"})


def test_a_gateway_that_waits_for_kafka_fills_its_window(observed: Observed) -> None:
    with stopped(psutil.Process(observed.system.kafka.pid)):
        observed.await_alert("EdgewiseWindowFull", {"gateway"})


def test_a_disk_with_less_than_its_share_left_is_told(observed: Observed) -> None:
    # A test fills no disk: the share that must be free is more than all of it.
    rules, found = re.subn(r"< 0\.05 \* edgewise_disk", "< 1.01 * edgewise_disk", hurried())
    assert found == 1
    observed.prometheus.rules(rules)
    observed.await_alert("EdgewiseDiskNearlyFull", {"ledger", "cluster"})


def test_a_killed_gateway_is_noticed_and_all_that_was_said_is_json(observed: Observed) -> None:
    parts = observed.parts
    parts["gateway"].kill()
    observed.await_alert("EdgewisePartDown", {"gateway"})
    for part in ("fleet", "cluster", "bridge"):
        parts[part].send(signal.SIGTERM)
    for part in PARTS:
        if part != "ledger":
            parts[part].wait(within_s=40)
            lines = said(parts[part])
            assert lines, part
            assert {(line["part"], line["run"]) for line in lines} == {(part, RUN)}, part
            assert {line["level"] for line in lines} <= {"info", "warning"}, lines
    broken = [line for line in said(parts["gateway"]) if line.get("camera") == BROKEN]
    assert len(broken) == 5
    counted = [line["repeated"] for line in said(parts["gateway"]) if "repeated" in line]
    assert sum(counted) <= MANY - len(broken)
