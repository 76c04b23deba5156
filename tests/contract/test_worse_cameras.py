"""Cameras that are no ideal ones, on a real broker: far away, coming and going, sharing, with a host that is silent."""

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final
from uuid import uuid4

import psutil
import pytest

from brokers.broker import Broker
from edgewise.clock import MILLISECOND_NS, SECOND_NS, SystemClock
from edgewise.messages import Frame, decode_frame
from edgewise.mqtt.outbox import MqttOutbox
from producers.camera.camera import Camera
from producers.camera.tally import Tally
from producers.fleet.drive import drive
from producers.fleet.run import Cameras
from producers.fleet.settings import FleetSettings
from producers.fleet.share import Account, Share
from producers.fleet.workers import Workers
from tests.peer import Peer, peer
from tests.real import connected, eventually
from tests.unit.test_account import PLAN

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(120)]

CLOCK: Final = SystemClock()


@dataclass
class Sent:
    """What became of a fleet's frames, and what a subscriber heard."""

    accounts: dict[str, Account]
    frames: Sequence[Frame]
    statuses: Sequence[tuple[str, bytes]]
    connections: int
    """That this process and the fleet's others had to the broker."""


def send(broker: Broker, *groups: dict[str, Any], **more: Any) -> Sent:  # noqa: ANN401 - settings
    """Let a fleet send without bridge or Kafka, and listen."""
    told = {"mqtt": broker.address, "kafka": "", "run": uuid4().hex, "groups": groups, "wait_s": 20} | more
    settings = FleetSettings.model_validate(told)
    with peer(broker.address) as reader:
        cameras: Cameras = Workers(settings) if settings.processes > 1 else Share(settings, clock=CLOCK)
        for group in settings.groups:
            for index in range(group.cameras):
                reader.listen(f"cameras/{group.name}-{index}/+")
        connections = connected_to(broker)
        cameras.drive(start_ns=settings.begins_ns(CLOCK), done=lambda: False, tell=lambda _: None)
        accounts: dict[str, Account] = {}
        for spent in cameras.close():
            for one in spent.accounts:
                before = accounts.get(one.group)
                accounts[one.group] = one if before is None else joined(before, one)
        confirmed = sum(one.counts["confirmed"] for one in accounts.values())
        eventually(lambda: len(frames_of(reader)) >= confirmed, within_s=20)
        statuses = [(topic.split("/")[1], payload) for topic, payload in reader.heard if topic.endswith("/status")]
        return Sent(accounts, frames_of(reader), statuses, connections)


def joined(one: Account, other: Account) -> Account:
    both = [*one.cameras, *other.cameras]
    return Account(one.group, both, one.tally + other.tally, one.late_ns, max(one.last_ns, other.last_ns))


def frames_of(reader: Peer) -> list[Frame]:
    return [decode_frame(payload) for topic, payload in list(reader.heard) if topic.endswith("/frames")]


def connected_to(broker: Broker) -> int:
    """Count the connections of this process and its children to a broker."""
    port = int(broker.address.rpartition(":")[2])
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    mine = {one.pid for one in family}
    return sum(
        bool(one.raddr) and one.raddr.port == port and one.pid in mine and one.status == psutil.CONN_ESTABLISHED
        for one in psutil.net_connections("tcp")
    )


def in_order(frames: Sequence[Frame]) -> bool:
    """Say whether each camera's frames came once and in their order."""
    by_camera: dict[str, list[int]] = {}
    for frame in frames:
        by_camera.setdefault(frame.camera, []).append(frame.number)
    return all(earlier < later for numbers in by_camera.values() for earlier, later in pairwise(numbers))


# --- links --------------------------------------------------------------------------------------


def test_a_far_camera_is_confirmed_a_round_trip_later_and_loses_nothing(mqtt: Broker) -> None:
    far = {"name": "far", "cameras": 4, "rate_hz": 20, "frames": 30, "link": "delay_ms=150,jitter_ms=50,loss_share=0.1"}
    near = {"name": "near", "cameras": 1, "rate_hz": 20, "frames": 30}
    began_ns = CLOCK.ticks_ns()
    found = send(mqtt, far, near)
    assert CLOCK.ticks_ns() - began_ns > 1.5 * SECOND_NS + 300 * MILLISECOND_NS  # the last answer's way back
    assert {name: one.counts["confirmed"] for name, one in found.accounts.items()} == {"far": 120, "near": 30}
    assert Counter(frame.camera for frame in found.frames) == {f"far-{n}": 30 for n in range(4)} | {"near-0": 30}
    assert in_order(found.frames)
    # The window is a frame's only hold: what is under way makes no other frame late.
    assert found.accounts["far"].late_ns.min() < 150 * MILLISECOND_NS


def test_a_window_over_a_far_link_bounds_the_rate_and_what_waits_too_long_is_dropped(mqtt: Broker) -> None:
    one = {"rate_hz": 50, "frames": 60, "link": "delay_ms=250", "window": 2, "drop_after_s": 0.3}
    counts = send(mqtt, {"name": "narrow", **one}).accounts["narrow"].counts
    assert counts["sent"] == counts["confirmed"]
    assert counts["sent"] + counts["dropped_at_source"] == 60
    assert 2 <= counts["sent"] <= 12  # two each half second, for as long as there are frames


# --- churn --------------------------------------------------------------------------------------


def test_cameras_leave_in_order_and_come_back_and_each_frame_is_accounted_for(mqtt: Broker) -> None:
    churn = {"share": 0.5, "stay_s": 0.6, "away_s": 0.5}
    one = {"name": "wander", "cameras": 6, "rate_hz": 25, "frames": 150, "drop_after_s": 0.2, "churn": churn}
    found = send(mqtt, one)
    (account,) = found.accounts.values()
    counts = account.counts
    assert counts["scheduled"] == 6 * 150 == counts["sent"] + counts["dropped_at_source"]
    assert counts["sent"] == counts["confirmed"] + counts["unheard"] + counts["refused"]
    assert in_order(found.frames)
    left = Counter(camera for camera, payload in found.statuses if payload == b"offline")
    came = Counter(camera for camera, payload in found.statuses if payload == b"online")
    stayed = {f"wander-{n}" for n in range(6)} - {camera for camera, times in left.items() if times > 1}
    assert len(stayed) == 3
    assert all(came[camera] >= left[camera] > 1 for camera in left if camera not in stayed)
    dropped = {each.camera: sum(last - first + 1 for first, last in each.dropped) for each in account.cameras}
    # Away for half a second, of which a fifth may be made up for.
    assert {camera for camera, frames in dropped.items() if frames >= 5} == set(dropped) - stayed


# --- shared connections -------------------------------------------------------------------------


@pytest.mark.parametrize("processes", [1, 2])
def test_few_connections_carry_the_frames_of_many_cameras(mqtt: Broker, processes: int) -> None:
    gate = {"name": f"gate-{processes}", "cameras": 7, "rate_hz": 20, "frames": 20, "window": 3}
    fence = {"name": f"fence-{processes}", "cameras": 4, "rate_hz": 10, "frames": 10, "qos": 0}
    before = connected_to(mqtt)
    found = send(mqtt, gate, fence, connections=3, processes=processes)
    assert found.connections - before == 3 + 1  # and the reader's
    counts = {name.split("-")[0]: one.counts for name, one in found.accounts.items()}
    assert (counts["gate"]["confirmed"], counts["gate"]["sent"]) == (140, 140)
    assert (counts["fence"]["confirmed"], counts["fence"]["sent"]) == (0, 40)
    eventually(lambda: len(found.frames) == 180, within_s=1)
    assert len({frame.camera for frame in found.frames}) == 11
    assert in_order(found.frames)
    assert found.statuses == []  # whose would it be?


def test_a_shared_connection_that_was_lost_counts_once_and_its_cameras_each(mqtt: Broker) -> None:
    groups = ({"name": "one", "cameras": 3}, {"name": "other", "cameras": 2})
    told = {"mqtt": mqtt.address, "kafka": "", "run": uuid4().hex, "groups": groups, "connections": 1}
    share = Share(FleetSettings.model_validate(told), clock=CLOCK)
    (line,) = share._lines  # noqa: SLF001
    line.lost = 2
    (found,) = share.close()
    assert sum(one.counts["connections_lost"] for one in found.accounts) == 2
    assert [one.counts["cameras_cut_off"] for one in found.accounts] == [3, 2]


# --- wrong clocks -------------------------------------------------------------------------------


def test_a_wrong_clock_is_in_the_stamps_and_in_nothing_else(mqtt: Broker) -> None:
    behind = {"name": "behind", "rate_hz": 50, "frames": 20, "clock_ahead_s": -3600}
    right = {"name": "right", "rate_hz": 50, "frames": 20}
    found = send(mqtt, behind, right)
    stamps = {frame.camera: (frame.due_ns, frame.sent_ns) for frame in found.frames if frame.number == 0}
    for place in (0, 1):
        off_s = (stamps["behind-0"][place] - stamps["right-0"][place]) / SECOND_NS
        assert off_s == pytest.approx(-3600, abs=10)
    assert found.accounts["behind"].counts["confirmed"] == 20
    assert found.accounts["behind"].late_ns.min() >= 0


# --- a host that does not answer ----------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """Give the address of a host that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def full() -> Iterator[str]:
    """Give the address of a host that does not even take a connection: whoever asks hears nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.settimeout(0)
            one.connect_ex(server.getsockname())
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for one in waiting:
            one.close()


@pytest.mark.parametrize("host", ["silent", "full"])
def test_a_camera_whose_host_does_not_answer_holds_nobody_up(
    mqtt: Broker, host: str, request: pytest.FixtureRequest
) -> None:
    nowhere = request.getfixturevalue(host)
    start_ns = CLOCK.now_ns() + SECOND_NS
    shape = {"cameras": 2, "frames": 100, "rate_hz": 50, "fleet": f"beside-{host}", "start_ns": start_ns}
    plan = PLAN.model_copy(update=shape | {"drop_after_s": 2.5})
    outboxes = [
        connected(MqttOutbox(mqtt.address, camera=plan.camera(0), window=100, clock=CLOCK)),
        MqttOutbox(nowhere, camera=plan.camera(1), window=100, clock=CLOCK),
    ]
    tallies = [Tally(), Tally()]
    cameras = [
        Camera(plan, n, outbox=outboxes[n], payload=lambda _: b"", size=(1, 1), tally=tallies[n], clock=CLOCK)
        for n in range(2)
    ]
    with peer(mqtt.address) as reader:  # or they would be sent again
        reader.listen(f"cameras/{plan.camera(0)}/frames")
        drive(cameras, clock=CLOCK, done=lambda: False, tell=lambda: None, answers_within_s=5, ramp_hz=1000)
    for outbox in outboxes:
        outbox.close()
    assert (tallies[0].sent, tallies[0].connected) == (100, 1)
    assert (tallies[1].sent, tallies[1].dropped, tallies[1].connected) == (0, 100, 0)
    # A try takes 5 s: whoever waited for one was late by as much, and dropped what came meanwhile.
    assert cameras[0].late_ns().max() < 2.5 * SECOND_NS
