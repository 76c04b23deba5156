"""Cameras begin when the cluster reads, and not before: said on the topic ``runs`` of a real Kafka."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest

from brokers.broker import Broker
from edgewise import kafka as clients
from edgewise import processes, topics
from edgewise.account import Opening
from edgewise.clock import SystemClock
from edgewise.entries import await_openings, of_run, open_parts
from edgewise.kafka import Client
from edgewise.parts import close_account, open_account
from tests.real import eventually

pytestmark = pytest.mark.brokers

CLIENTS: Final = [Client.CONFLUENT, Client.PYTHON]
CLOCK: Final = SystemClock()


def opens(address: str, run: str, client: Client) -> None:
    producer = clients.producer(address, client=client)
    open_account(producer, part="cluster", name="cluster", run=run, facts={"startup_s": 1.5}, clock=CLOCK)


@pytest.fixture
def address(kafka: Broker) -> str:
    topics.ensure(kafka.address)
    return kafka.address


@pytest.fixture
def run() -> str:
    return f"run-{uuid4().hex[:12]}"


@pytest.mark.parametrize("client", CLIENTS)
def test_an_opening_ends_the_waiting_of_whoever_waits_already(address: str, run: str, client: Client) -> None:
    said: list[str] = []
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(
            await_openings,
            *(address, run),
            parts={"cluster"},
            client=client,
            clock=CLOCK,
            within_s=30,
            talk=said.append,
        )
        eventually(lambda: said, within_s=20)
        opens(address, f"not-{run}", client)
        assert not waiting.done()
        opens(address, run, client)
        waiting.result(timeout=20)
    assert said == [f"waiting up to 30 s for the cluster to open run {run} ..."]


@pytest.mark.parametrize("client", CLIENTS)
def test_what_opened_and_closed_is_read_back_in_the_order_of_its_writing(
    address: str, run: str, client: Client
) -> None:
    opens(address, run, client)
    (opening,) = of_run(address, run, client=client, clock=CLOCK)
    assert isinstance(opening, Opening)
    assert opening.facts == {"startup_s": 1.5}
    producer = clients.producer(address, client=client)
    close_account(producer, part="cluster", name="cluster", run=run, summary={})
    assert open_parts(of_run(address, run, client=client, clock=CLOCK)) == set()
    opens(address, run, client)
    assert open_parts(of_run(address, run, client=client, clock=CLOCK)) == {"cluster"}


FLEET: Final = (sys.executable, "-m", "edgewise", "fleet", "--frames", "3", "--rate-hz", "100")


def test_cameras_without_a_cluster_do_not_begin(address: str, mqtt: Broker, run: str) -> None:
    both = ("--kafka", address, "--mqtt", mqtt.address, "--run", run)
    told = subprocess.run(
        [*FLEET, *both, "--wait-for", "cluster", "--wait-s", "1"], capture_output=True, text=True, check=False
    )
    assert told.returncode == 3
    assert f"fleet: waiting up to 1 s for the cluster to open run {run} ...\n" in told.stderr
    assert told.stderr.splitlines()[-1] == (
        f"edgewise: no cluster has opened run {run} within 1 s; start one with: edgewise cluster --run {run}"
    )
    assert of_run(address, run, client=Client.AUTO, clock=CLOCK) == [], "no plan: nothing was begun"


def test_cameras_begin_when_the_cluster_has_opened_their_run(
    address: str, mqtt: Broker, run: str, tmp_path: Path
) -> None:
    both = ("--kafka", address, "--mqtt", mqtt.address, "--run", run)
    fleet = processes.start([*FLEET, *both, "--wait-for", "cluster"], name="the fleet", log=tmp_path / "log")
    try:
        eventually(lambda: "waiting up to 60 s" in fleet.log.read_text(), within_s=60)
        opens(address, run, Client.AUTO)
        assert fleet.wait(within_s=60) == 0, fleet.tail()
    finally:
        fleet.kill()
    assert {entry.kind for entry in of_run(address, run, client=Client.AUTO, clock=CLOCK)} == {
        "opening",
        "clock",
        "plan",
        "camera",
        "closing",
    }


def test_ctrl_c_ends_cameras_that_wait_for_a_cluster_at_once(
    address: str, mqtt: Broker, run: str, tmp_path: Path
) -> None:
    both = ("--kafka", address, "--mqtt", mqtt.address, "--run", run)
    fleet = processes.start([*FLEET, *both, "--wait-for", "cluster"], name="the fleet", log=tmp_path / "log")
    try:
        eventually(lambda: "waiting up to 60 s" in fleet.log.read_text(), within_s=60)
        fleet.send(signal.SIGINT)
        assert fleet.wait(within_s=10) == 130, fleet.tail()
    finally:
        fleet.kill()


def test_a_part_that_nobody_can_wait_for_is_refused_by_name() -> None:
    told = subprocess.run(
        [*FLEET, "--kafka", "127.0.0.1:9", "--mqtt", "127.0.0.1:9", "--wait-for", "bridge,broker"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 2
    assert told.stderr == "edgewise: --wait-for 'broker': Input should be 'bridge', 'gateway' or 'cluster'\n"
