"""Fleets on real brokers: divided among processes, attached to a run, connected at a pace, within their limits."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import uuid4

import psutil
import pytest

from brokers.broker import Broker
from edgewise import addresses, topics
from edgewise.account import Closing, Plan
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, UnreachableError
from edgewise.kafka import Client
from edgewise.messages import Frame, decode_frame
from producers.fleet import open_files
from producers.fleet.run import Cameras, Fleet
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Share
from producers.fleet.workers import Workers
from tests.peer import peer
from tests.real import eventually

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

CLOCK: Final = SystemClock()
CAMERAS: Final = 5


def settings(mqtt: Broker, kafka: Broker, **more: object) -> FleetSettings:
    told = {"mqtt": mqtt.address, "kafka": kafka.address, "run": uuid4().hex, "cameras": CAMERAS, "frames": 8}
    return FleetSettings.model_validate(told | {"rate_hz": 10, "wait_for": (), "order": "shuffled"} | more)


def heard(cameras: Cameras, plan: Plan, address: str) -> Sequence[Frame]:
    """Let cameras send, and give what a subscriber heard, in the order of the schedule."""
    with peer(address) as reader:
        reader.listen("cameras/+/frames")
        cameras.drive(plan, done=lambda: False, tell=lambda _: None)
        eventually(lambda: len(reader.heard) == plan.frames_together(), within_s=30)
        found = [decode_frame(wire) for wire in reader.payloads()]
    return sorted(found, key=lambda frame: (frame.due_ns, frame.camera))


def test_two_processes_send_what_one_sends_byte_for_byte(mqtt: Broker, kafka: Broker) -> None:
    one, two = settings(mqtt, kafka, fleet="alike"), settings(mqtt, kafka, fleet="alike", processes=2)
    alone = Share(one, clock=CLOCK)
    plan = one.plan(clock=CLOCK)
    frames = heard(alone, plan, mqtt.address)
    (account,) = alone.close()
    workers = Workers(two)
    # The same start, long past, so that the moments are the same: how late they are does not matter here.
    same = plan.model_copy(update={"drop_after_s": 600})
    divided = heard(workers, same, mqtt.address)
    accounts = workers.close()
    assert [replace(frame, sent_ns=0) for frame in frames] == [replace(frame, sent_ns=0) for frame in divided]
    assert sorted(one.camera for each in accounts for one in each.cameras) == [f"alike-{n}" for n in range(CAMERAS)]
    assert [account.counts["confirmed"], sum(each.counts["confirmed"] for each in accounts)] == [CAMERAS * 8] * 2
    assert {len(each.cameras) for each in accounts} == {2, 3}


def test_cameras_connect_as_many_a_second_as_are_asked_for(mqtt: Broker, kafka: Broker) -> None:
    for processes, connect in ((1, lambda told: Share(told, clock=CLOCK)), (2, Workers)):
        told = settings(mqtt, kafka, fleet=f"slowly-{processes}", cameras=20, ramp_hz=10, processes=processes)
        began_ns = CLOCK.ticks_ns()
        cameras = connect(told)
        assert CLOCK.ticks_ns() - began_ns >= 1.8 * SECOND_NS
        cameras.drive(told.plan(clock=CLOCK), done=lambda: True, tell=lambda _: None)
        cameras.close()


def test_a_process_that_cannot_connect_says_why(kafka: Broker) -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    told = FleetSettings(mqtt=nowhere, kafka=kafka.address, run="nowhere", cameras=2, processes=2)
    with pytest.raises(UnreachableError, match=f"MQTT broker does not answer at {nowhere}; start it with: edgewise up"):
        Workers(told)


def test_a_fleet_joins_a_run_that_is_under_way_and_no_other(mqtt: Broker, kafka: Broker) -> None:
    first = settings(mqtt, kafka, fleet="first")
    second = first.model_copy(update={"fleet": "second", "attach": True})
    with pytest.raises(ConfigError, match=f"--attach '{first.run}': no fleet of such a run is there"):
        Fleet(second, clock=CLOCK)
    leading = Fleet(first, clock=CLOCK)
    leading.run(done=lambda: False, tell=lambda _: None)
    with pytest.raises(ConfigError, match="has had a fleet 'first' before; choose another --name"):
        Fleet(first.model_copy(update={"attach": True}), clock=CLOCK)
    joining = Fleet(second, clock=CLOCK)
    joining.run(done=lambda: False, tell=lambda _: None)
    assert joining.close()["sent"] == CAMERAS * 8
    leading.close()
    entries = of_run(kafka.address, first.run, client=Client.AUTO, clock=CLOCK)
    assert {entry.fleet for entry in entries if isinstance(entry, Plan)} == {"first", "second"}
    assert {entry.name for entry in entries if isinstance(entry, Closing)} == {"first", "second"}
    with pytest.raises(ConfigError, match="its fleets have ended"):
        Fleet(second.model_copy(update={"fleet": "third"}), clock=CLOCK)


def test_too_few_open_files_are_found_before_the_start(mqtt: Broker, kafka: Broker) -> None:
    topics.ensure(kafka.address)
    command = f"{sys.executable} -m edgewise fleet --cameras 500 --mqtt {mqtt.address} --kafka {kafka.address}"
    typed = ["/bin/bash", "-c", f"ulimit -n 300; exec {command}"]
    told = subprocess.run(typed, capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 2
    assert "--cameras 500: a process needs 600 open files and may have 300; raise the hard limit" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_broker_with_too_few_open_files_is_found_too(mqtt: Broker, kafka: Broker) -> None:
    port = int(mqtt.address.rpartition(":")[2])
    listening = [one for one in psutil.net_connections("tcp") if one.laddr.port == port and one.pid is not None]
    broker = psutil.Process(next(one.pid for one in listening if one.status == psutil.CONN_LISTEN))
    before = broker.rlimit(psutil.RLIMIT_NOFILE)
    assert open_files.of_broker(mqtt.address) == before[0]
    broker.rlimit(psutil.RLIMIT_NOFILE, (400, before[1]))
    try:
        with pytest.raises(ConfigError, match="may open 400 files, one for each"):
            open_files.allow(settings(mqtt, kafka, cameras=500))
    finally:
        broker.rlimit(psutil.RLIMIT_NOFILE, before)


def test_a_limit_that_may_be_raised_is_raised() -> None:
    script = (
        "import resource; from producers.fleet import open_files; from producers.fleet.settings import FleetSettings;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096));"
        "open_files.allow(FleetSettings(mqtt='far:1', kafka='far:2', run='r', cameras=1000, processes=2));"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert int(told.stdout) == 600
