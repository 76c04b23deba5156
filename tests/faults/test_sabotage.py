"""Real runs with one fault each: INVALID, the fault is the first reason, and what followed from it stands under it."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import psutil
import pytest
from kafka import TopicPartition

from brokers.broker import Broker
from edgewise import dataset, processes, topics
from edgewise import kafka as clients
from edgewise.clock import SECOND_NS, Deadline, SystemClock
from edgewise.errors import InvalidRunError
from edgewise.kafka import Record
from edgewise.messages import decode_result
from edgewise.parts import say
from edgewise.processes import Child
from edgewise.summary import Summary
from models.engine import load
from tests.real import eventually
from tests.sabotaged import another_model, clock_ahead, clock_behind, one_camera_forgotten, planted, results_lost
from tests.system import RUN, System, accounted, running
from tests.tables import causes

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(600)]

SHORT: Final = {
    "placement": "gateway",
    "gateway.engine": "onnx",
    "cluster.engine": "onnx",
    "fleet.cameras": 4,
    "fleet.rate_hz": 20,
    "fleet.duration_s": 3,
    # A slow machine alone must not make a run INVALID: each test asks for the one limit that it is about.
    "limits.late_ms": 600_000,
    "limits.backlog_share": 1000,
    "limits.starved_s": 600,
    "limits.ledger_ms": 600_000,
    "fleet.ceiling_share": 1,
    # What is missing is so for good: no test waits for longer than a micro-batch takes.
    "drain_s": 5,
}
WITHIN_S: Final = 200.0


class Sabotage:
    """Comparison runs, and a hand that reaches into them."""

    def __init__(self, folder: Path, *, mqtt: Broker, kafka: Broker) -> None:
        self._folder, self._brokers = folder, ("--mqtt", mqtt.address, "--kafka", kafka.address)
        self._kafka = kafka.address
        self._children: list[Child] = []

    def compare(self, sets: Mapping[str, object], *, env: Mapping[str, str] | None = None) -> Child:
        """Start a comparison run; what is said here comes before what all of them have."""
        values = [word for name, value in {**SHORT, **sets}.items() for word in ("--set", f"{name}={value}")]
        return self._start("compare", "laptop", *values, "--runs", str(self._folder), env=env)

    def start(self, part: str, *arguments: str) -> Child:
        """Start a part that does not belong to the run."""
        return self._start(part, *arguments)

    def _start(self, *words: str, env: Mapping[str, str] | None = None) -> Child:
        command = [sys.executable, "-m", "edgewise", *words, *self._brokers]
        child = processes.start(command, name=words[0], log=self._folder / f"{words[0]}.log", env=env)
        self._children.append(child)
        return child

    def sabotaged(self, part: str, fault: Callable[[], None]) -> Mapping[str, str]:
        """Give the environment in which a part has a fault."""
        return planted(self._folder, part=part, fault=fault)

    def await_results(self, run: Child, tier: str) -> None:
        """Wait until this tier has answered some frames of the run."""
        consumer = clients.consumer(self._kafka, topics=[topics.RESULTS], from_end=True)

        def answered() -> bool:
            assert run.running(), run.tail(lines=30)
            return any(decode_result(one.value).tier == tier for one in consumer.take(limit=100, wait_s=0.1))

        try:
            eventually(answered, within_s=WITHIN_S)
        finally:
            consumer.close()

    def judged(self, run: Child) -> Summary:
        """Wait for the run's end; give its summary, which is INVALID."""
        code = run.wait(within_s=WITHIN_S)
        assert code == InvalidRunError.exit_code, run.tail(lines=40)
        (folder,) = self._folder.glob("*-laptop")
        summary = Summary.model_validate_json((folder / "summary.json").read_bytes())
        assert summary.verdict == "INVALID"
        assert summary.reasons[0].rule in (folder / "report.html").read_text()
        return summary

    def stop(self) -> None:
        """Leave nothing running."""
        for child in self._children:
            child.stop(within_s=15)


@pytest.fixture
def sabotage(mqtt: Broker, kafka: Broker, tmp_path: Path) -> Iterator[Sabotage]:
    topics.ensure(kafka.address)
    own = Sabotage(tmp_path, mqtt=mqtt, kafka=kafka)
    yield own
    own.stop()


def part(run: Child, name: str) -> psutil.Process:
    """Find one of a run's parts by its command line."""
    (found,) = (one for one in psutil.Process(run.pid).children() if one.cmdline()[1:4] == ["-m", "edgewise", name])
    return found


def pause(process: psutil.Process, *, for_s: float) -> None:
    """Let a process stand still for a while."""
    process.send_signal(signal.SIGSTOP)
    over = Deadline(SystemClock(), within_s=for_s)
    try:
        eventually(over.passed, within_s=for_s + 60)
    finally:
        process.send_signal(signal.SIGCONT)


def test_a_slowed_generator_is_late_and_what_it_dropped_stands_under_it(sabotage: Sabotage) -> None:
    # What is late by more than 5 s is dropped; of the other frames most are late by seconds.
    run = sabotage.compare({"fleet.duration_s": 9, "limits.late_ms": 1000})
    sabotage.await_results(run, "gateway")
    pause(part(run, "fleet"), for_s=6.5)
    found = sabotage.judged(run)
    assert causes(found) == {"late generator": ["dropped at source"]}


@pytest.mark.parametrize(
    ("name", "placement", "hence"),
    [
        ("gateway", "gateway", {"dropped at source", "missing in gateway"}),
        ("cluster", "cluster", {"dropped at source", "missing in cluster"}),
        ("bridge", "gateway", {"dropped at source", "confirmed, never bridged"}),
    ],
)
def test_a_part_that_is_killed_is_the_cause_of_all_that_is_missing(
    sabotage: Sabotage, name: str, placement: str, hence: set[str]
) -> None:
    # So many frames that some leave in the moment until the run ends, too.
    run = sabotage.compare({"placement": placement, "fleet.duration_s": 120, "fleet.rate_hz": 50})
    sabotage.await_results(run, placement)
    parts = psutil.Process(run.pid).children(recursive=True)
    part(run, name).kill()
    found = sabotage.judged(run)
    (cause,) = found.reasons
    assert (cause.rule, cause.found) == (f"{name} died", "exit code -9")
    assert hence <= {below.rule for below in cause.consequences}
    eventually(lambda: all(processes.birth(one.pid) is None for one in parts), within_s=30)


def test_different_models_are_found_by_what_the_results_name(sabotage: Sabotage) -> None:
    run = sabotage.compare({"placement": "both"}, env=sabotage.sabotaged("gateway", another_model))
    found = sabotage.judged(run)
    assert causes(found) == {"different models": []}
    assert str(found.reasons[0].found).startswith("gateway ran cifar_cnn@")


def test_two_gateways_on_the_same_frames_duplicate_the_results(sabotage: Sabotage) -> None:
    other = sabotage.start("gateway", "--engine", "onnx", "--client-id", "second", "--end-session")
    eventually(lambda: "gateway: classifying" in other.log.read_text(), within_s=WITHIN_S)
    # The cameras may begin when one of the two is there, and the slower one owe some copies when the run ends.
    found = sabotage.judged(sabotage.compare({"fleet.duration_s": 6, "limits.copies_share": 0.2}))
    assert causes(found) == {"duplicated results in gateway": []}


@pytest.mark.parametrize(
    ("name", "fault", "error"),
    [("gateway", clock_ahead, "(ahead)"), ("bridge", clock_behind, "(behind)")],
)
def test_a_clock_that_is_off_by_two_seconds_is_named_with_its_error(
    sabotage: Sabotage, name: str, fault: Callable[[], None], error: str
) -> None:
    found = sabotage.judged(sabotage.compare({}, env=sabotage.sabotaged(name, fault)))
    assert causes(found) == {"impossible stage times in gateway": []}
    follow = found.reasons[0].next
    assert f"clock of {name} is off by about " in follow
    assert error in follow
    assert float(follow.split("about ")[1].split(" s ")[0]) == pytest.approx(2, abs=0.5)


def test_cameras_with_a_wrong_clock_are_found_out(sabotage: Sabotage) -> None:
    found = sabotage.judged(sabotage.compare({"fleet.clock_ahead_s": -2}))
    assert causes(found) == {"impossible stage times in gateway": []}
    follow = found.reasons[0].next
    assert "clock of fleet is off by about " in follow
    assert "(behind)" in follow
    assert float(follow.split("about ")[1].split(" s ")[0]) == pytest.approx(2, abs=0.5)


def test_a_camera_that_the_gateway_forgets_starves(sabotage: Sabotage) -> None:
    found = sabotage.judged(sabotage.compare({}, env=sabotage.sabotaged("gateway", one_camera_forgotten)))
    assert causes(found) == {"starving camera in gateway": ["missing in gateway"]}
    assert found.tiers["gateway"].starved_names == ["camera-2"]


def test_lost_results_are_told_from_frames_that_were_never_answered(sabotage: Sabotage) -> None:
    found = sabotage.judged(sabotage.compare({}, env=sabotage.sabotaged("ledger", results_lost)))
    assert causes(found) == {"results lost after gateway": ["missing in gateway"]}
    assert found.reasons[0].found == found.tiers["gateway"].missing > 0


def one_core_hz() -> float:
    """Measure how many images a second one core classifies when nobody disturbs it: the best of many short calls."""
    clock, images = SystemClock(), dataset.load("test", say=say).images[:16]
    engine = load("onnx", model="resnet20", threads=1)
    took_ns = []
    for _ in range(30):
        began_ns = clock.ticks_ns()
        engine.classify(images)
        took_ns.append(clock.ticks_ns() - began_ns)
    return len(images) * SECOND_NS / min(took_ns)


def test_more_frames_than_one_core_can_classify_are_a_growing_backlog(sabotage: Sabotage) -> None:
    rate_hz = max(1600, 3 * one_core_hz())
    sizes = {"fleet.cameras": 16, "fleet.rate_hz": rate_hz / 16, "fleet.duration_s": 2}
    small = {"gateway.threads": 1, "gateway.cores": sorted(os.sched_getaffinity(0))[:1]}
    strict = {"limits.backlog_share": 0.01, "limits.backlog_over_s": 1, "limits.late_ms": 5}
    found = sabotage.judged(sabotage.compare({**sizes, **small, **strict}))
    # Whether the cameras are late beside it, and how many frames are dropped, is the machine's affair.
    (cause,) = found.reasons
    assert cause.rule == "growing backlog in gateway"
    assert {below.rule for below in cause.consequences} <= {"late generator", "dropped at source"}


def test_fewer_frames_than_were_asked_for_are_too_few(sabotage: Sabotage) -> None:
    found = sabotage.judged(sabotage.compare({"limits.samples": 459}))
    assert causes(found) == {"too few samples in gateway": []}
    assert (found.reasons[0].found, found.reasons[0].limit) == (240, 459)


# --- as the ledger alone judges it: parts started by hand, and nobody who watches them ------------


def await_own(system: System, topic: str, *, records: int) -> list[Record]:
    """Wait until a topic of a test's own Kafka has so many records; give them."""
    topics.ensure(system.kafka.address)
    consumer = clients.consumer(system.kafka.address, topics=[topic])
    found: list[Record] = []

    def all_there() -> bool:
        found.extend(consumer.take(limit=records, wait_s=0.1))
        return len(found) >= records

    try:
        eventually(all_there, within_s=WITHIN_S)
    finally:
        consumer.close()
    return found


def test_a_bridge_that_is_killed_and_not_missed_is_the_cause_of_what_never_came(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger(settle_s=2)
        bridge = system.start("bridge")
        system.start("gateway", "--source", "kafka", "--engine", "onnx")
        fleet = system.fleet(frames=400, rate_hz=100)
        await_own(system, topics.RESULTS, records=40)
        bridge.kill()
        found = accounted(system, ledger, fleet, within_s=WITHIN_S)
    assert ledger.exit_code == InvalidRunError.exit_code
    assert causes(found) == {"confirmed, never bridged": ["missing in gateway"]}


def test_results_that_kafka_forgot_are_told_from_frames_that_were_never_answered(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        mine = ("--run", RUN)
        bridge = system.start("bridge", *mine)
        gateway = system.start("gateway", *mine, "--engine", "onnx")
        eventually(lambda: "gateway: classifying" in system.said(gateway), within_s=WITHIN_S)
        fleet = system.fleet(frames=240, rate_hz=80)
        results = await_own(system, topics.RESULTS, records=240)
        assert fleet.wait(within_s=WITHIN_S) == 0
        processes.stop_all([bridge, gateway], within_s=15)
        forgotten = forget(system, results)
        ledger = system.ledger(settle_s=1)
        found = accounted(system, ledger, fleet, within_s=WITHIN_S)
    assert ledger.exit_code == InvalidRunError.exit_code
    assert causes(found) == {"results lost after gateway": ["missing in gateway"]}
    assert found.reasons[0].found == found.tiers["gateway"].missing == forgotten > 0


def forget(system: System, results: Sequence[Record]) -> int:
    """Have Kafka delete the first quarter of each partition's results, as its retention would; say how many."""
    counts = Counter(one.partition for one in results)
    with topics.administration(system.kafka.address) as admin:
        admin.delete_records({TopicPartition(topics.RESULTS, place): count // 4 for place, count in counts.items()})
    return sum(count // 4 for count in counts.values())
