"""Fleets on real brokers: divided among processes, attached to a run, connected at a pace, within their limits."""

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from uuid import uuid4

import psutil
import pyarrow.parquet as pq
import pytest

from brokers.broker import Broker
from edgewise import account, addresses, arrivals, topics
from edgewise import kafka as clients
from edgewise.account import CameraAccount, Closing, Plan
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, UnreachableError
from edgewise.kafka import Client
from edgewise.messages import Frame, decode_frame
from edgewise.places import CHECKOUT
from producers.fleet import open_files
from producers.fleet import run as fleets
from producers.fleet.run import Cameras, Fleet
from producers.fleet.settings import FleetSettings, Group
from producers.fleet.share import Share, Standing, Tell
from producers.fleet.workers import Workers
from tests.peer import peer
from tests.real import eventually
from tests.system import UNTIMED, System, accounted

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

CLOCK: Final = SystemClock()
CAMERAS: Final = 5


def group(name: str, **more: object) -> Group:
    return Group.model_validate({"name": name, "cameras": CAMERAS, "frames": 8, "order": "shuffled"} | more)


def settings(mqtt: Broker, kafka: Broker, *groups: Group, **more: object) -> FleetSettings:
    told = {"mqtt": mqtt.address, "kafka": kafka.address, "run": uuid4().hex, "wait_for": (), "groups": groups}
    return FleetSettings.model_validate(told | more)


def heard(cameras: Cameras, told: FleetSettings, *, start_ns: int) -> Sequence[Frame]:
    """Let cameras send, and give what a subscriber heard, in the order of the schedule."""
    frames = sum(plan.frames_together() for plan in told.plans(start_ns=start_ns))
    with peer(told.mqtt) as reader:
        reader.listen("cameras/+/frames")
        cameras.drive(start_ns=start_ns, done=lambda: False, tell=lambda _: None)
        eventually(lambda: len(reader.heard) == frames, within_s=30)
        found = [decode_frame(wire) for wire in reader.payloads()]
    return sorted(found, key=lambda frame: (frame.due_ns, frame.camera))


def test_two_processes_send_what_one_sends_byte_for_byte(
    mqtt: Broker, kafka: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same start for both, long past for the second: how late they are does not matter here.
    patient = {"drop_after_s": 600}
    groups = (
        group("alike", **patient),
        group("other", cameras=2, codec="png", seed=7, **patient),
        group("poisson", cameras=3, arrival={"kind": "poisson"}, rate_hz=20, **patient),
        group("lognormal", cameras=3, arrival={"kind": "lognormal", "sigma": 1}, rate_hz=20, seed=9, **patient),
    )
    cameras = CAMERAS + 2 + 3 + 3
    one = settings(mqtt, kafka, *groups)
    alone, start_ns = Share(one, clock=CLOCK), one.begins_ns(CLOCK)
    with monkeypatch.context() as from_now_on:
        # Whatever takes time was worked out before the start was chosen.
        from_now_on.setattr(arrivals, "due_ns", None)
        from_now_on.setattr(Plan, "image", None)
        frames = heard(alone, one, start_ns=start_ns)
    (whole,) = alone.close()
    workers = Workers(one.model_copy(update={"processes": 2}))
    divided = heard(workers, one, start_ns=start_ns)
    halves = workers.close()
    assert [replace(frame, sent_ns=0) for frame in frames] == [replace(frame, sent_ns=0) for frame in divided]
    assert len(frames) == cameras * 8
    names = sorted(one.camera for half in halves for each in half.accounts for one in each.cameras)
    assert names == sorted(one.camera for each in whole.accounts for one in each.cameras)
    for found in ([whole], halves):
        assert sum(each.counts["confirmed"] for one in found for each in one.accounts) == cameras * 8
    assert {sum(len(each.cameras) for each in half.accounts) for half in halves} == {6, 7}


def test_cameras_connect_as_many_a_second_as_are_asked_for(mqtt: Broker, kafka: Broker) -> None:
    for processes, connect in ((1, lambda told: Share(told, clock=CLOCK)), (2, Workers)):
        told = settings(mqtt, kafka, group(f"slowly-{processes}", cameras=20), ramp_hz=10, processes=processes)
        began_ns = CLOCK.ticks_ns()
        cameras = connect(told)
        assert CLOCK.ticks_ns() - began_ns >= 1.8 * SECOND_NS
        cameras.drive(start_ns=told.begins_ns(CLOCK), done=lambda: True, tell=lambda _: None)
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
        accounts = fleet.close().groups
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
    workers.drive(start_ns=told.begins_ns(CLOCK), done=lambda: False, tell=lambda _: None)
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


# --- whatever ends it, the account is written -----------------------------------------------------


@pytest.fixture
def _signals() -> Iterator[None]:
    """Let a fleet have its way with signals, and have them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def fates(kafka: Broker, run: str) -> tuple[int, int, int]:
    """Count a run's cameras that have an account, and their frames that were sent or dropped; and closing accounts."""
    entries = of_run(kafka.address, run, client=Client.AUTO, clock=CLOCK)
    cameras = [entry for entry in entries if isinstance(entry, CameraAccount)]
    frames = sum(last - first + 1 for one in cameras for first, last in (*one.sent, *one.dropped))
    return len(cameras), frames, sum(isinstance(entry, Closing) for entry in entries)


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.usefixtures("_signals")
def test_a_bug_on_the_way_leaves_a_plan_with_its_account(
    mqtt: Broker, kafka: Broker, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(_: Standing) -> None:
        raise KeyError("a bug")

    @contextmanager
    def broken(*_: object, **__: object) -> Iterator[Tell]:
        yield bug

    monkeypatch.setattr(fleets, "shown", broken)
    told = settings(mqtt, kafka, group("cut", frames=400), processes=processes)
    with pytest.raises(KeyError, match="a bug"):
        fleets.run(told)
    assert fates(kafka, told.run) == (CAMERAS, CAMERAS * 400, 1)


IN_WORKERS: Final = """
import sys
if "spawn_main" in " ".join(sys.orig_argv):
    from edgewise.errors import ConfigError
    from producers.fleet.share import Share

    def drive(self, **_):
        raise {error}

    Share.drive = drive
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("ConfigError('the certificate has gone')", "^the certificate has gone$"),
        ("KeyError('a bug')", "^process [01] of the fleet failed: KeyError: 'a bug'$"),
    ],
)
def test_what_ends_a_process_is_told_and_its_cameras_have_an_account(
    mqtt: Broker, kafka: Broker, tmp_path: Path, error: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(IN_WORKERS.format(error=error))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{CHECKOUT}")
    asked = settings(mqtt, kafka, group("hurt"), processes=2)
    fleet = Fleet(asked, clock=CLOCK)
    fleet.run(done=lambda: False, tell=lambda _: None)
    assert fleet.close().whole["dropped_at_source"] == CAMERAS * 8
    assert re.search(told, str(fleet.trouble))
    assert fates(kafka, asked.run) == (CAMERAS, CAMERAS * 8, 1)


def test_a_signal_to_all_its_processes_ends_a_fleet_with_its_account(mqtt: Broker, kafka: Broker) -> None:
    run = uuid4().hex
    both = ("--mqtt", mqtt.address, "--kafka", kafka.address, "--run", run, "--wait-for", "", "--format", "json")
    shape = ("--cameras", str(CAMERAS), "--rate-hz", "20", "--frames", "4000", "--processes", "2")
    command = [sys.executable, "-m", "edgewise", "fleet", *both, *shape]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as child:
        with peer(mqtt.address) as reader:
            reader.listen(f"cameras/camera-{CAMERAS - 1}/frames")
            eventually(lambda: reader.heard or child.poll() is not None, within_s=100)
        os.killpg(child.pid, signal.SIGTERM)
        out, said = child.communicate(timeout=60)
    assert child.returncode == 0, said
    found = json.loads(out)
    assert found["scheduled"] == CAMERAS * 4000 == found["sent"] + found["dropped_at_source"]
    assert fates(kafka, run) == (CAMERAS, CAMERAS * 4000, 1)
    assert list(found["groups"]) == ["camera"]


# --- joining --------------------------------------------------------------------------------------


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
    second = first.model_copy(update={"groups": (group("second"),), "attach": True, "begin": False})
    with pytest.raises(ConfigError, match=f"--attach '{first.run}': no fleet of such a run is there"):
        Fleet(second, clock=CLOCK)
    leading = Fleet(first, clock=CLOCK)
    leading.run(done=lambda: False, tell=lambda _: None)
    with pytest.raises(ConfigError, match="has had a fleet 'first' before; choose another --name"):
        Fleet(first.model_copy(update={"attach": True}), clock=CLOCK)
    with pytest.raises(ConfigError, match=f"has had a fleet 'first' before; .*join it .*--attach {first.run}"):
        Fleet(first.model_copy(update={"groups": (group("another"),)}), clock=CLOCK)
    joining = Fleet(second, clock=CLOCK)
    joining.run(done=lambda: False, tell=lambda _: None)
    assert joining.close().whole["sent"] == CAMERAS * 8
    leading.close()
    entries = of_run(kafka.address, first.run, client=Client.AUTO, clock=CLOCK)
    assert {entry.fleet for entry in entries if isinstance(entry, Plan)} == {"first", "second"}
    assert {entry.name for entry in entries if isinstance(entry, Closing)} == {"first", "second"}
    with pytest.raises(ConfigError, match="its fleets have ended"):
        Fleet(second.model_copy(update={"groups": (group("third"),)}), clock=CLOCK)


LASTS_S: Final = 16
WARM_UP_SHARE: Final = 0.15
"""At most: it is over before the second fleet is even started, however slow the machine."""
JOINS_AFTER: Final = 30
"""Frames of a camera, a tenth of a second each."""


def test_who_joins_by_the_command_line_spoils_neither_the_warm_up_nor_the_accuracy(
    mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    system, run = System(tmp_path, mqtt=mqtt, kafka=kafka), uuid4().hex
    cameras = ("--cameras", "2", "--rate-hz", "10", "--wait-s", "120", "--format", "json")
    try:
        system.start("bridge", "--client-id", run, "--end-session")
        system.start("gateway", "--client-id", f"{run}-gateway", "--end-session", "--engine", "onnx")
        limits = ("--limit", f"warm_up_most_share={WARM_UP_SHARE}", *UNTIMED)
        out = tmp_path / "account"
        ledger = system.start("ledger", "--run", run, "--out", str(out), "--settle-s", "30", *limits)
        with peer(mqtt.address) as reader:
            reader.listen("cameras/early-0/frames")
            early = system.start("fleet", "--run", run, "--name", "early", "--duration-s", str(LASTS_S), *cameras)
            eventually(lambda: len(reader.heard) > JOINS_AFTER or not early.running(), within_s=150)
        late = system.start("fleet", "--attach", run, "--name", "late", "--duration-s", "3", *cameras, log="late")
        summary = accounted(system, ledger, early, within_s=150)
        assert late.wait(within_s=60) == 0, system.said(late)
    finally:
        system.stop()
    assert summary.verdict == "VALID", summary.reasons
    assert [phase.joined for phase in summary.phases] == [["early"], ["late"]]
    assert [phase.cameras for phase in summary.phases] == [2, 4]
    rows = pq.read_table(out / "frames.parquet", columns=["camera", "due_ns", "image", "label", "correct"]).to_pylist()
    # The warm-up is at the run's beginning, and the frames of those who joined later are all measured.
    warm_up, begins_ns = summary.warm_up, min(row["due_ns"] for row in rows)
    assert warm_up is not None
    ends_ns = begins_ns + round(warm_up.lasted_s * SECOND_NS)
    assert warm_up.frames == sum(row["due_ns"] < ends_ns for row in rows)
    assert ends_ns < min(row["due_ns"] for row in rows if row["camera"].startswith("late"))
    assert summary.phases[1].latency_ms["gateway"].p50 is not None
    # Both sent the first test images: they got the same answers, and each counts.
    told = {
        name: {row["image"]: row["label"] for row in rows if row["camera"].startswith(name)}
        for name in ("early", "late")
    }
    assert told["early"].items() >= told["late"].items()
    assert (len(told["early"]), len(told["late"])) == (20 * LASTS_S, 60)
    right = sum(row["correct"] for row in rows)
    assert summary.tiers["gateway"].accuracy == pytest.approx(right / len(rows))


# --- within its limits ----------------------------------------------------------------------------


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


def test_too_few_local_ports_are_found_too(
    mqtt: Broker, kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "range").write_text("32768\t33067\n")
    monkeypatch.setattr(open_files, "PORTS", tmp_path / "range")
    with pytest.raises(ConfigError, match="this machine has 300 local ports for connections to one address, and 301"):
        open_files.allow(settings(mqtt, kafka, group("many", cameras=301)))
    open_files.allow(settings(mqtt, kafka, group("many", cameras=301), connections=300))


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
