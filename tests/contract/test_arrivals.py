"""Fleets keep the asked rate on a real broker, and the ledger recomputes what they sent, in another process."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from brokers.broker import Broker
from brokers.mqtt.embedded import mqtt
from edgewise import account, arrivals, kafka, topics
from edgewise.account import Plan
from edgewise.arrivals import Drawn, Lognormal, Periodic, Poisson, Trace, packed
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.entries import of_run
from edgewise.kafka import Client
from edgewise.messages import Frame, decode_frame
from edgewise.mqtt.outbox import MqttOutbox
from producers.camera.camera import Camera
from producers.camera.tally import Tally
from producers.fleet.drive import drive
from tests.peer import peer
from tests.real import connected, eventually
from tests.system import RUN, running
from tests.unit.test_account import PLAN
from tests.unit.test_arrivals import exponential_law, kolmogorov_smirnov, lognormal_law

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

SENDING_S: Final = 3
CAMERAS: Final = 2


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    found = mqtt(tmp_path_factory.mktemp("arrivals"), choice="mosquitto")
    found.start()
    yield found
    found.stop()


def sent(plan: Plan, broker: Broker) -> list[Frame]:
    """Let a plan's cameras send, and give what a subscriber heard."""
    clock = SystemClock()
    with peer(broker.address) as reader:
        reader.listen("cameras/+/frames")
        names = [plan.camera(index) for index in range(plan.cameras)]
        outboxes = [connected(MqttOutbox(broker.address, camera=name, window=1000, clock=clock)) for name in names]
        plan = plan.model_copy(update={"start_ns": clock.now_ns() + SECOND_NS // 2})
        tally = Tally()
        cameras = [
            Camera(plan, index, outbox=one, payload=lambda _: b"\x00" * 3072, size=(32, 32), tally=tally, clock=clock)
            for index, one in enumerate(outboxes)
        ]
        drive(
            cameras,
            clock=clock,
            done=lambda: False,
            tell=lambda: None,
            answers_within_s=30,
            ramp_hz=1000,
        )
        eventually(lambda: len(reader.heard) >= plan.frames_together(), within_s=30)
        for outbox in outboxes:
            outbox.close()
        return [decode_frame(wire) for wire in reader.payloads()]


@pytest.mark.parametrize("rate_hz", [10, 100, 1000])
@pytest.mark.parametrize("pattern", [Periodic(), Lognormal(sigma=0.05), Poisson()], ids=lambda one: one.kind)
def test_the_schedule_is_kept_within_2_percent_and_its_gaps_are_of_the_asked_law(
    broker: Broker, pattern: Drawn, rate_hz: int, record_property: Callable[[str, object], None]
) -> None:
    frames = SENDING_S * rate_hz // CAMERAS
    shape = {"cameras": CAMERAS, "frames": frames, "rate_hz": rate_hz / CAMERAS, "arrival": pattern}
    plan = PLAN.model_copy(update=shape | {"fleet": f"{pattern.kind}-{rate_hz}", "run": "paced"})
    found = sent(plan, broker)
    assert len({(frame.camera, frame.number) for frame in found}) == plan.frames_together()
    begun_ns = min(frame.due_ns for frame in found)
    due_s, sent_s = (
        np.array([getattr(one, name) - begun_ns for one in found]) / SECOND_NS for name in ("due_ns", "sent_ns")
    )
    # Seconds of the clock for each of the schedule. A busy machine makes frames late and none early, a wrong rate
    # makes all of them so: what counts is the least late one of the first third and of the last.
    late_s = sent_s - due_s
    first, last = due_s < SENDING_S / 3, due_s >= SENDING_S * 2 / 3
    pace = 1 + (late_s[last].min() - late_s[first].min()) / (due_s[last].mean() - due_s[first].mean())
    assert pace == pytest.approx(1, abs=0.02)
    each_hz = rate_hz / CAMERAS
    laws = {
        "poisson": lambda gaps_s: exponential_law(gaps_s, rate_hz=each_hz),
        "lognormal": lambda gaps_s: lognormal_law(gaps_s, rate_hz=each_hz, sigma=0.05),
    }
    if law := laws.get(pattern.kind):
        asked, left = (kolmogorov_smirnov(gaps_s(found, moment), law) for moment in ("due_ns", "sent_ns"))
        assert asked > 0.01
        # Beside it: what a machine made of them, which says something of the machine.
        record_property("gaps", f"{pattern.kind} at {rate_hz}/s: p {asked:.3f} as scheduled, {left:.3f} as sent")


def gaps_s(frames: Sequence[Frame], moment: str) -> NDArray[np.float64]:
    """Give the gaps between each camera's frames."""
    names = {frame.camera for frame in frames}
    by_camera = [sorted(getattr(one, moment) for one in frames if one.camera == name) for name in names]
    return np.concatenate([np.diff(moments_ns) for moments_ns in by_camera]) / SECOND_NS


def frames_of(address: str) -> dict[tuple[str, int], Frame]:
    """Read all frames in Kafka."""
    consumer = kafka.consumer(address, topics=[topics.FRAMES])
    found: dict[tuple[str, int], Frame] = {}
    try:
        while consumer.lag():
            for record in consumer.take(limit=1000, wait_s=0.2):
                frame = decode_frame(record.value)
                found[frame.camera, frame.number] = frame
    finally:
        consumer.close()
    return found


GROUPS: Final = """
[traced]
arrival = "trace:trace.csv"
order = "shuffled"
"""
DRAWN: Final = ("poisson", "lognormal:sigma=1", "burst:on_s=0.2,off_s=0.3", "diurnal:period_s=0.5")


def test_the_ledger_computes_what_the_fleets_sent_to_the_nanosecond(tmp_path: Path) -> None:
    rows = [f"gate-{number % 3 // 2},{number * 0.0071:.4f},{number * 7}" for number in range(100)]
    (tmp_path / "trace.csv").write_text("camera,time_s,image\n" + "\n".join(rows) + "\n")
    shape = 'cameras = 2\nrate_hz = 30\nduration_s = 1\norder = "shuffled"\n'
    groups = "".join(f'[{one.partition(":")[0]}]\narrival = "{one}"\n{shape}' for one in DRAWN)
    (tmp_path / "groups.toml").write_text(GROUPS + groups)
    with running(tmp_path) as system:
        system.start("bridge")
        fleet = system.start("fleet", "--run", RUN, "--groups", str(tmp_path / "groups.toml"), "--wait-for", "bridge")
        eventually(lambda: not fleet.running(), within_s=120)
        assert fleet.exit_code == 0, system.said(fleet)
        ledger = system.ledger(settle_s=3)
        eventually(lambda: not ledger.running(), within_s=120)
        assert ledger.exit_code == 4, system.said(ledger)  # nobody answered them
        found = frames_of(system.kafka.address)
        table = pq.read_table(tmp_path / "account" / "frames.parquet").to_pylist()
        expected = {(row["camera"], row["number"]): (row["due_ns"], row["image"]) for row in table}
        assert {key: (frame.due_ns, frame.image) for key, frame in found.items()} == expected
        assert len(expected) == 100 + 4 * 60
        assert sum(camera == "traced-1" for camera, _ in expected) == 33
        assert system.summary().frames.scheduled == len(expected)
        assert {row["fate"] for row in table} == {"bridged, no result"}


def test_the_largest_trace_travels_with_its_plan(tmp_path: Path) -> None:
    gaps_ns = np.random.default_rng(1).integers(0, 2**40, 130_000)
    counts, gaps = packed(np.array([len(gaps_ns)])), packed(gaps_ns)
    assert 0.95 * arrivals.TRACE_MOST_BYTES < len(counts) + len(gaps) <= arrivals.TRACE_MOST_BYTES
    trace = Trace(sha256="0" * 64, counts=counts, gaps_ns=gaps, images="")
    clock = SystemClock()
    with running(tmp_path) as system:
        topics.ensure(system.kafka.address)
        for client in (Client.CONFLUENT, Client.PYTHON):
            update = {"cameras": 1, "frames": len(gaps_ns), "arrival": trace, "run": client.value}
            plan = PLAN.model_copy(update=update)
            producer = kafka.producer(system.kafka.address, client=client)
            producer.send(topics.RUNS, key=account.key(plan), value=account.encode(plan), receipt=0)
            assert list(producer.close(within_s=30)) == [0]
            assert of_run(system.kafka.address, client.value, client=client, clock=clock) == [plan]
