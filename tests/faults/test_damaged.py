"""1,000 damaged payloads among 5,000 good frames: each rejected by its reason, every good frame answered."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgewise.messages import FRAME_MAX_BYTES, Codec, Frame, Rule, encode_frame
from tests.real import eventually
from tests.system import System, accounted, running, sending

DAMAGED = 1000
GOOD = 5000
CAMERA = "broken-0"

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(600)]

DICE = np.random.default_rng(9)
GENUINE = Frame(
    run="damaged",
    camera=CAMERA,
    number=0,
    dataset="cifar10",
    split="test",
    image=0,
    width=32,
    height=32,
    codec=Codec.RAW,
    due_ns=1,
    sent_ns=2,
    payload=bytes(DICE.integers(0, 256, 3072, dtype=np.uint8)),
)
WIRE = encode_frame(GENUINE)


def truncated() -> tuple[bytes, Rule]:
    return WIRE[: int(DICE.integers(20, len(WIRE)))], Rule.CHECK


def empty() -> tuple[bytes, Rule]:
    return b"", Rule.EMPTY


def wrong_magic() -> tuple[bytes, Rule]:
    return DICE.integers(0, 128, 2, dtype=np.uint8).tobytes() + WIRE[2:], Rule.MAGIC


def flipped_bit() -> tuple[bytes, Rule]:
    place, bit = int(DICE.integers(10, len(WIRE))), int(DICE.integers(0, 8))
    return WIRE[:place] + bytes([WIRE[place] ^ 1 << bit]) + WIRE[place + 1 :], Rule.CHECK


def wrong_dimensions() -> tuple[bytes, Rule]:
    width = int(DICE.integers(1, 32))
    return encode_frame(replace(GENUINE, width=width)), Rule.DIMENSIONS


def wrong_picture() -> tuple[bytes, Rule]:
    return encode_frame(replace(GENUINE, codec=Codec.PNG)), Rule.PAYLOAD


def other_schema() -> tuple[bytes, Rule]:
    return WIRE[:2] + bytes(8) + WIRE[10:], Rule.SCHEMA


def oversized() -> tuple[bytes, Rule]:
    return bytes(FRAME_MAX_BYTES + 1), Rule.TOO_LARGE


KINDS: list[tuple[int, Callable[[], tuple[bytes, Rule]]]] = [
    (200, truncated),
    (150, empty),
    (150, wrong_magic),
    (200, flipped_bit),
    (120, wrong_dimensions),
    (100, wrong_picture),
    (60, other_schema),
    (20, oversized),
]


def damaged() -> Iterator[tuple[bytes, Rule]]:
    for count, make in KINDS:
        for _ in range(count):
            yield make()


def publish_damaged(system: System) -> Counter[str]:
    """Send them with a client that is not ours; give the rules they break."""
    host, port = system.mqtt.address.split(":")
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(20)
    client.connect(host, int(port))
    client.loop_start()
    expected: Counter[str] = Counter()
    for wire, rule in damaged():
        client.publish(f"cameras/{CAMERA}/frames", wire, qos=1).wait_for_publish(30)
        expected[rule.value] += 1
    client.disconnect()
    client.loop_stop()
    return expected


@pytest.mark.parametrize("source", ["mqtt", "kafka"])
def test_what_is_no_frame_is_rejected_by_its_reason_and_harms_no_other(tmp_path: Path, source: str) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        bridge = system.start("bridge", "--format", "json")
        gateway = system.start("gateway", "--source", source, "--format", "json")
        eventually(lambda: "classifying" in system.said(gateway), within_s=90)
        fleet = system.fleet(frames=GOOD, rate_hz=400)
        sending(system)
        expected = publish_damaged(system)
        assert expected.total() == DAMAGED
        summary = accounted(system, ledger, fleet, within_s=240)
        tier = summary.tiers["gateway"]
        # Too large a frame never gets into Kafka's frames: there the bridge rejects it, for all readers.
        too_large = expected[Rule.TOO_LARGE]
        if source == "kafka":
            del expected[Rule.TOO_LARGE]
        assert tier.rejected_by_rule == dict(expected)
        assert (tier.results, tier.missing) == (GOOD, 0)
        assert summary.frames.rejected == too_large
        assert gateway.running()
        assert bridge.running()


@pytest.mark.parametrize("engine", ["onnx", "bigdl"])
def test_the_cluster_rejects_what_is_no_frame_by_its_reason_and_harms_no_other(tmp_path: Path, engine: str) -> None:
    with running(tmp_path) as system:
        bridge = system.start("bridge", "--format", "json")
        cluster = system.cluster(engine=engine)
        ledger = system.ledger(tiers="cluster")
        fleet = system.fleet(frames=GOOD, rate_hz=400)
        sending(system)
        expected = publish_damaged(system)
        assert expected.total() == DAMAGED
        summary = accounted(system, ledger, fleet, within_s=240)
        tier = summary.tiers["cluster"]
        # Too large a frame never gets into Kafka's frames: there the bridge rejects it, for all readers.
        too_large = expected[Rule.TOO_LARGE]
        del expected[Rule.TOO_LARGE]
        assert tier.rejected_by_rule == dict(expected)
        assert (tier.engine, tier.results, tier.missing) == (engine, GOOD, 0)
        assert summary.frames.rejected == too_large
        assert cluster.running()
        assert bridge.running()
        assert cluster.stop(within_s=60) == 0
        assert system.account(cluster)["frames"] >= GOOD + DAMAGED - too_large
