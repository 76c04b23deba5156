"""Kill and stop what can be killed and stopped, while frames travel: nothing confirmed is lost, nothing counts twice.

A short form of what ``make acceptance`` does with 20,000 frames.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgewise import kafka, topics
from edgewise.clock import Deadline
from edgewise.errors import EdgewiseError
from tests.real import eventually
from tests.system import System, accounted, fates, running, sending
from tests.tables import first

FRAMES = int(os.environ.get("EDGEWISE_FAULT_FRAMES", "4000"))
RATE_HZ = 500.0
WITHIN_S = 180.0

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(600)]


def moments_s(count: int, *, seed: int) -> list[float]:
    """Choose moments at random within the sending, in order."""
    sending_s = FRAMES / RATE_HZ
    return sorted(np.random.default_rng(seed).uniform(0.1, 0.9, count) * sending_s)


def after(moment_s: float, since: Deadline) -> None:
    """Wait until ``moment_s`` after the deadline object was made for 600 s."""
    eventually(lambda: 600 - since.left_s() >= moment_s, within_s=600)


def test_a_bridge_killed_three_times_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        bridge = system.start("bridge")
        system.start("gateway", "--source", "kafka")
        fleet = system.fleet(frames=FRAMES, rate_hz=RATE_HZ)
        since = sending(system)
        for number, moment_s in enumerate(moments_s(3, seed=4)):
            after(moment_s, since)
            bridge.kill()
            bridge = system.start("bridge", log=f"bridge-{number}")
        summary = accounted(system, ledger, fleet, within_s=WITHIN_S)
        gateway = summary.tiers["gateway"]
        assert (summary.verdict, gateway.missing, gateway.results) == ("VALID", 0, FRAMES), summary
        assert fates(system) == {"answered": FRAMES}
        # Whatever came twice was counted as a copy, in Kafka and in the results alike.
        assert summary.frames.bridged == FRAMES
        assert gateway.duplicates == summary.frames.bridged_copies


def test_a_kafka_killed_and_an_mqtt_broker_stopped_lose_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        system.start("bridge")
        system.start("gateway", "--source", "kafka")
        fleet = system.fleet(frames=FRAMES, rate_hz=RATE_HZ)
        since = sending(system)
        first_s, second_s = moments_s(2, seed=5)
        after(first_s, since)
        system.kafka.kill()
        system.kafka.start()
        after(second_s, since)
        system.mqtt.stop()
        system.mqtt.start()
        summary = accounted(system, ledger, fleet, within_s=WITHIN_S)
        gateway = summary.tiers["gateway"]
        assert (summary.verdict, gateway.missing, gateway.results) == ("VALID", 0, FRAMES), summary
        assert fates(system) == {"answered": FRAMES}


def test_what_a_killed_mqtt_broker_forgets_is_named_and_nothing_else_is_missing(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger(settle_s=15)
        bridge = system.start("bridge")
        system.start("gateway", "--source", "kafka")
        fleet = system.fleet(frames=FRAMES, rate_hz=RATE_HZ)
        since = sending(system)
        (moment_s,) = moments_s(1, seed=6)
        after(moment_s, since)
        # A bridge that is away for a moment leaves frames in the broker's memory, to be lost with it.
        bridge.kill()
        after(moment_s + 0.5, since)
        system.mqtt.kill()
        system.mqtt.start()
        system.start("bridge", log="bridge-2")
        summary = accounted(system, ledger, fleet, within_s=WITHIN_S)
        gateway = summary.tiers["gateway"]
        assert gateway.missing > 0, "the broker lost nothing: the test tested nothing"
        assert gateway.missing_by_last_place == {"confirmed, never bridged": gateway.missing}
        assert gateway.results + gateway.missing == FRAMES
        assert summary.verdict == "INVALID"
        assert first(summary).rule == "MQTT broker died"
        assert {"confirmed, never bridged", "missing in gateway"} <= {one.rule for one in first(summary).consequences}


def test_a_gateway_killed_beside_the_mqtt_broker_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        system.start("bridge")
        gateway = system.start("gateway")
        eventually(lambda: "classifying" in system.said(gateway), within_s=60)
        fleet = system.fleet(frames=FRAMES, rate_hz=RATE_HZ)
        since = sending(system)
        (moment_s,) = moments_s(1, seed=7)
        after(moment_s, since)
        gateway.kill()
        system.start("gateway", log="gateway-2")
        summary = accounted(system, ledger, fleet, within_s=WITHIN_S)
        assert (summary.verdict, summary.tiers["gateway"].missing) == ("VALID", 0), summary
        assert fates(system) == {"answered": FRAMES}


def test_a_kafka_that_comes_back_empty_gets_its_topics_and_the_frames_that_follow(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        bridge = system.start("bridge")
        system.fleet(frames=FRAMES, rate_hz=100)
        sending(system)
        system.kafka.stop()
        shutil.rmtree(system.kafka.data)
        system.kafka.start()
        eventually(lambda: records_in(system) > 0, within_s=90)
        assert bridge.running()


def records_in(system: System) -> int:
    """Count the frames that a new reader finds, without making the topic."""
    try:
        consumer = kafka.consumer(system.kafka.address, topics=[topics.FRAMES])
    except EdgewiseError:
        return 0
    try:
        return consumer.lag()
    finally:
        consumer.close()
