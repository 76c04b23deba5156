"""Fleets on real brokers: divided among processes, attached to a run, connected at a pace, within their limits."""

import multiprocessing
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
from edgewise import account, addresses, topics
from edgewise import kafka as clients
from edgewise.account import Closing, Plan
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, UnreachableError
from edgewise.kafka import Client
from edgewise.messages import Frame, decode_frame
from producers.fleet import open_files
from producers.fleet.run import Cameras, Fleet
from producers.fleet.settings import FleetSettings, Group
from producers.fleet.share import Share, Standing
from producers.fleet.workers import Workers
from tests.peer import peer
from tests.real import eventually

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

CLOCK: Final = SystemClock()
CAMERAS: Final = 5


def group(name: str, **more: object) -> Group:
    return Group.model_validate({"name": name, "cameras": CAMERAS, "frames": 8, "order": "shuffled"} | more)


def settings(mqtt: Broker, kafka: Broker, *groups: Group, **more: object) -> FleetSettings:
    told = {"mqtt": mqtt.address, "kafka": kafka.address, "run": uuid4().hex, "wait_for": (), "groups": groups}
    return FleetSettings.model_validate(told | more)


def heard(cameras: Cameras, plans: Sequence[Plan], address: str) -> Sequence[Frame]:
    """Let cameras send, and give what a subscriber heard, in the order of the schedule."""
    with peer(address) as reader:
        reader.listen("cameras/+/frames")
        cameras.drive(plans, done=lambda: False, tell=lambda _: None)
        eventually(lambda: len(reader.heard) == sum(plan.frames_together() for plan in plans), within_s=30)
        found = [decode_frame(wire) for wire in reader.payloads()]
    return sorted(found, key=lambda frame: (frame.due_ns, frame.camera))


def test_two_processes_send_what_one_sends_byte_for_byte(mqtt: Broker, kafka: Broker) -> None:
    # The same start for both, long past for the second: how late they are does not matter here.
    groups = (group("alike", drop_after_s=600), group("other", cameras=2, codec="png", seed=7, drop_after_s=600))
    one = settings(mqtt, kafka, *groups)
    alone, plans = Share(one, clock=CLOCK), one.plans(clock=CLOCK)
    frames = heard(alone, plans, mqtt.address)
    (whole,) = alone.close()
    workers = Workers(one.model_copy(update={"processes": 2}))
    divided = heard(workers, plans, mqtt.address)
    halves = workers.close()
    assert [replace(frame, sent_ns=0) for frame in frames] == [replace(frame, sent_ns=0) for frame in divided]
    names = sorted(one.camera for half in halves for each in half.accounts for one in each.cameras)
    assert names == [*(f"alike-{number}" for number in range(CAMERAS)), "other-0", "other-1"]
    for found in ([whole], halves):
        assert sum(each.counts["confirmed"] for one in found for each in one.accounts) == (CAMERAS + 2) * 8
    assert {sum(len(each.cameras) for each in half.accounts) for half in halves} == {3, 4}


def test_cameras_connect_as_many_a_second_as_are_asked_for(mqtt: Broker, kafka: Broker) -> None:
    for processes, connect in ((1, lambda told: Share(told, clock=CLOCK)), (2, Workers)):
        told = settings(mqtt, kafka, group(f"slowly-{processes}", cameras=20), ramp_hz=10, processes=processes)
        began_ns = CLOCK.ticks_ns()
        cameras = connect(told)
        assert CLOCK.ticks_ns() - began_ns >= 1.8 * SECOND_NS
        cameras.drive(told.plans(clock=CLOCK), done=lambda: True, tell=lambda _: None)
        cameras.close()


def test_groups_differ_in_one_run_and_what_nobody_answers_is_sent_all_the_same(mqtt: Broker, kafka: Broker) -> None:
    gate, fence = group("gate", rate_hz=20, codec="png"), group("fence", cameras=2, rate_hz=5, qos=0)
    told = settings(mqtt, kafka, gate, fence)
    standings: list[Standing] = []
    with peer(mqtt.address) as reader:
        reader.listen("cameras/+/frames")
        fleet = Fleet(told, clock=CLOCK)
        fleet.run(done=lambda: False, tell=standings.append)
        eventually(lambda: len(reader.heard) == (CAMERAS + 2) * 8, within_s=30)
        accounts = fleet.close()
    counts = {name: (one["sent"], one["confirmed"], one["codec"]) for name, one in accounts.items()}
    assert counts == {"gate": (CAMERAS * 8, CAMERAS * 8, "png"), "fence": (16, 0, "raw")}
    assert {name: (tally.connected, tally.sent) for name, tally in standings[-1].items()} == {
        "gate": (CAMERAS, CAMERAS * 8),
        "fence": (2, 16),
    }
    entries = of_run(kafka.address, told.run, client=Client.AUTO, clock=CLOCK)
    plans = {entry.fleet: entry for entry in entries if isinstance(entry, Plan)}
    assert plans["gate"].start_ns == plans["fence"].start_ns
    assert [entry.name for entry in entries if isinstance(entry, Closing) and "cpu_s" in entry.summary] == ["gate"]


def test_a_process_that_cannot_connect_says_why(kafka: Broker) -> None:
    nowhere = f"127.0.0.1:{addresses.free_port()}"
    told = FleetSettings(mqtt=nowhere, kafka=kafka.address, run="nowhere", groups=(group("lost"),), processes=2)
    with pytest.raises(UnreachableError, match=f"MQTT broker does not answer at {nowhere}; start it with: edgewise up"):
        Workers(told)
    assert multiprocessing.active_children() == []


def test_a_process_that_died_before_the_start_takes_only_its_own_cameras_with_it(mqtt: Broker, kafka: Broker) -> None:
    told = settings(mqtt, kafka, group("half", drop_after_s=0.5), processes=2, wait_s=5)
    workers = Workers(told)
    first, _ = multiprocessing.active_children()
    first.kill()
    first.join(10)
    workers.drive(told.plans(clock=CLOCK), done=lambda: False, tell=lambda _: None)
    (left,) = workers.close()
    assert sum(len(each.cameras) for each in left.accounts) in {2, 3}


def test_an_error_leaves_no_process_behind_and_nobody_waiting(mqtt: Broker, kafka: Broker) -> None:
    told = settings(mqtt, kafka, group("left"), processes=2).model_dump_json()
    script = (
        "import sys; from producers.fleet.settings import FleetSettings; from producers.fleet.workers import Workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(FleetSettings.model_validate_json(sys.argv[1]))\n"
        "    raise ValueError(workers)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, told], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 1
    assert "ValueError" in ended.stderr


def test_a_run_whose_fleet_was_killed_and_is_long_over_takes_no_other(mqtt: Broker, kafka: Broker) -> None:
    killed = settings(mqtt, kafka, group("killed"))
    long_ago = CLOCK.now_ns() - 300 * SECOND_NS
    topics.ensure(kafka.address)
    producer = clients.producer(kafka.address)
    plan = killed.groups[0].plan(run=killed.run, start_ns=long_ago)
    producer.send(topics.RUNS, key=account.key(plan), value=account.encode(plan), receipt=0)
    producer.close(within_s=20)
    with pytest.raises(ConfigError, match="its fleets have ended"):
        Fleet(killed.model_copy(update={"groups": (group("late"),), "attach": True}), clock=CLOCK)


def test_a_fleet_joins_a_run_that_is_under_way_and_no_other(mqtt: Broker, kafka: Broker) -> None:
    first = settings(mqtt, kafka, group("first"))
    second = first.model_copy(update={"groups": (group("second"),), "attach": True})
    with pytest.raises(ConfigError, match=f"--attach '{first.run}': no fleet of such a run is there"):
        Fleet(second, clock=CLOCK)
    leading = Fleet(first, clock=CLOCK)
    leading.run(done=lambda: False, tell=lambda _: None)
    with pytest.raises(ConfigError, match="has had a fleet 'first' before; choose another --name"):
        Fleet(first.model_copy(update={"attach": True}), clock=CLOCK)
    joining = Fleet(second, clock=CLOCK)
    joining.run(done=lambda: False, tell=lambda _: None)
    assert joining.close()["second"]["sent"] == CAMERAS * 8
    leading.close()
    entries = of_run(kafka.address, first.run, client=Client.AUTO, clock=CLOCK)
    assert {entry.fleet for entry in entries if isinstance(entry, Plan)} == {"first", "second"}
    assert {entry.name for entry in entries if isinstance(entry, Closing)} == {"first", "second"}
    with pytest.raises(ConfigError, match="its fleets have ended"):
        Fleet(second.model_copy(update={"groups": (group("third"),)}), clock=CLOCK)


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
        with pytest.raises(ConfigError, match="may open 400 files and needs 550"):
            open_files.allow(settings(mqtt, kafka, group("many", cameras=500)))
    finally:
        broker.rlimit(psutil.RLIMIT_NOFILE, before)


def test_a_limit_that_may_be_raised_is_raised() -> None:
    script = (
        "import resource; from producers.fleet import open_files;"
        "from producers.fleet.settings import FleetSettings, Group;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 4096));"
        "groups = (Group(cameras=1000),);"
        "open_files.allow(FleetSettings(mqtt='far:1', kafka='far:2', run='r', groups=groups, processes=2));"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=os.environ)
    assert int(told.stdout) == 600
