"""A whole system of real parts for one test: brokers and parts as processes, to be killed at will."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import Choice
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from brokers.secured.admission import admit
from edgewise import account, dataset, kafka, processes, security, topics
from edgewise.account import CameraAccount, Closing, Entry, Plan
from edgewise.arrival import BRIDGED_NS
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import FrameError
from edgewise.kafka import Record
from edgewise.messages import Codec, Frame, Result, decode_result, encode_frame
from edgewise.parts import say
from edgewise.processes import Child
from edgewise.summary import Summary
from tests.real import eventually

RUN = "faulty"
READY_S = 180.0
"""For a cluster's start, which takes 8 s on a machine that does nothing else."""
SETTLE_S = 60.0
"""For parts that come back: on a busy machine a gateway loads its model for 20 s, in which no result comes."""
UNTIMED = [
    word
    for limit in ("late_ms=600000", "backlog_share=1000", "starved_s=600", "copies_share=100", "clock_share=1")
    for word in ("--limit", limit)
]
"""Faults make cameras late and queues long, and a yard's frames come before they are due: it is of losses alone."""


class System:
    """Both brokers, and whatever parts the test starts."""

    def __init__(self, folder: Path, *, mqtt: Broker, kafka: Broker, secured: Path | None = None) -> None:
        self.folder, self.mqtt, self.kafka = folder, mqtt, kafka
        self._env = {**os.environ, security.VARIABLE: str(secured)} if secured else None
        self.children: list[Child] = []

    def start(self, part: str, *arguments: str, log: str | None = None) -> Child:
        """Start a part by its own command."""
        command = [sys.executable, "-m", "edgewise", part, *arguments, "--kafka", self.kafka.address]
        if part not in {"ledger", "cluster"}:
            command += ["--mqtt", self.mqtt.address]
        child = processes.start(command, name=part, log=self.folder / f"{log or part}.log", env=self._env)
        self.children.append(child)
        return child

    def fleet(self, *, frames: int, rate_hz: float, cameras: int = 4, codec: str = "raw") -> Child:
        """Start a fleet that sends ``frames`` in all, ``rate_hz`` in all, and waits for the bridge alone."""
        return self.start(
            "fleet",
            *("--run", RUN, "--cameras", str(cameras), "--frames", str(frames // cameras)),
            *("--rate-hz", str(rate_hz / cameras), "--codec", codec, "--format", "json"),
            *("--drop-after-s", "60", "--wait-for", "bridge", "--wait-s", "90"),
        )

    def ledger(self, *more: str, settle_s: float = SETTLE_S, tiers: str = "gateway") -> Child:
        """Start a ledger to which these tiers owe results."""
        own = ("--run", RUN, "--out", str(self.folder / "account"), "--settle-s", str(settle_s), "--tiers", tiers)
        return self.start("ledger", *own, *more, *UNTIMED)

    def cluster(self, *arguments: str, engine: str) -> Child:
        """Start a cluster and wait until it reads."""
        own = ("--engine", engine, "--master", "local[2]", "--checkpoint", str(self.folder / "checkpoint"))
        child = self.start("cluster", *own, "--format", "json", *arguments)
        await_ready(child)
        return child

    def summary(self) -> Summary:
        """Read what the ledger wrote."""
        return Summary.model_validate_json((self.folder / "account" / "summary.json").read_bytes())

    def said(self, child: Child) -> str:
        """Give all of a part's output."""
        return child.log.read_text(errors="replace")

    def account(self, child: Child) -> dict[str, Any]:
        """Give the account that a part printed at its end."""
        return printed(child)

    def carried(self, child: Child, *, frames: int) -> bool:
        """Say whether a bridge has reported at least so many frames."""
        counts = [
            int(line.split()[1].replace(",", "")) for line in self.said(child).splitlines() if " frames, " in line
        ]
        return bool(counts) and counts[-1] >= frames

    def stop(self) -> None:
        """Stop every part."""
        for child in self.children:
            child.stop(within_s=15)


@contextmanager
def running(folder: Path, *, choice: Choice = "mosquitto", secured: Path | None = None) -> Iterator[System]:
    """Give a system whose brokers answer, and let in whoever has secrets if there are some; leave nothing running."""
    mqtt = embedded_mqtt(folder / "mqtt", choice=choice, secured=secured)
    log = embedded_kafka(folder / "kafka", secured=secured)
    system = System(folder, mqtt=mqtt, kafka=log, secured=secured)
    try:
        log.launch()
        mqtt.start()
        log.await_answer()
        if secured is not None:
            admit(log.address, secured)
        yield system
    finally:
        system.stop()
        mqtt.stop()
        log.stop()


def sending(system: System) -> Deadline:
    """Wait for the first frames in Kafka; give a deadline that tells how long ago that was."""
    topics.ensure(system.kafka.address)
    consumer = kafka.consumer(system.kafka.address, topics=[topics.FRAMES])
    eventually(lambda: consumer.take(limit=1, wait_s=0.1), within_s=90)
    consumer.close()
    return Deadline(SystemClock(), within_s=600)


def accounted(system: System, ledger: Child, fleet: Child, *, within_s: float) -> Summary:
    """Wait for fleet and ledger to end by themselves; give the summary."""
    eventually(lambda: not fleet.running(), within_s=within_s)
    assert fleet.exit_code == 0, system.said(fleet)
    eventually(lambda: not ledger.running(), within_s=within_s)
    assert ledger.exit_code in {0, 4}, system.said(ledger)
    return system.summary()


def read_json(path: Path) -> dict[str, Any]:
    """Read what a run left in its folder."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def fates(system: System) -> dict[str, int]:
    """Count the rows of the ledger's table by fate."""
    import pyarrow.parquet as pq

    column = pq.read_table(system.folder / "account" / "frames.parquet", columns=["fate"])["fate"]
    return {found["values"]: found["counts"] for found in column.value_counts().to_pylist()}


# --- clusters, and cameras beside Kafka: for tests that need no MQTT ------------------------------


def printed(child: Child) -> dict[str, Any]:
    """Give the account that a part printed at its end."""
    said = child.log.read_text(errors="replace")
    line = next(line for line in reversed(said.splitlines()) if line.startswith("{"))
    found: dict[str, Any] = json.loads(line)
    return found


def cluster(
    kafka_address: str, folder: Path, *arguments: str, log: str = "cluster", env: Mapping[str, str] | None = None
) -> Child:
    """Start a cluster with its checkpoint in a folder; arguments win over what it is told here."""
    own = ("--engine", "onnx", "--master", "local[2]", "--checkpoint", str(folder / "checkpoint"), "--format", "json")
    command = [sys.executable, "-m", "edgewise", "cluster", "--kafka", kafka_address, *own, *arguments]
    return processes.start(command, name="cluster", log=folder / f"{log}.log", env=env)


def await_ready(child: Child) -> None:
    """Wait until a cluster reads."""
    eventually(lambda: "cluster: ready" in child.log.read_text() or not child.running(), within_s=READY_S)
    assert child.running(), child.tail(lines=40)


class Yard:
    """Cameras that stand beside Kafka and put their frames there themselves, as a bridge would."""

    def __init__(self, kafka_address: str, *, run: str, frames: int, cameras: int = 4) -> None:
        """Nothing is sent yet; ``frames`` is of each camera."""
        self._split = dataset.load("test", say=say)
        self._kafka = kafka_address
        self.plan = Plan(
            run=run,
            fleet="yard",
            start_ns=SystemClock().now_ns(),
            seed=1,
            cameras=cameras,
            rate_hz=1000,
            frames=frames,
            dataset=dataset.NAME,
            split="test",
            images=len(self._split.images),
            dataset_sha256=self._split.sha256,
            codec=Codec.RAW,
            drop_after_s=60,
            version="",
        )
        self._images = [self.plan.image(camera) for camera in range(cameras)]
        self._due_ns = [self.plan.due_ns(camera) for camera in range(cameras)]
        topics.ensure(kafka_address)
        self._producer = kafka.producer(kafka_address)

    def frame(self, camera: int, number: int) -> Frame:
        """Make one frame of the plan."""
        plan, image = self.plan, int(self._images[camera][number])
        return Frame(
            run=plan.run,
            camera=plan.camera(camera),
            number=number,
            dataset=plan.dataset,
            split=plan.split,
            image=image,
            width=dataset.SIDE,
            height=dataset.SIDE,
            codec=plan.codec,
            due_ns=int(self._due_ns[camera][number]),
            sent_ns=SystemClock().now_ns(),
            payload=self._split.images[image].tobytes(),
        )

    def send(self, numbers: range | None = None) -> int:
        """Hand these frames of every camera, or all, to Kafka's client; say how many that were."""
        sent = 0
        for number in range(self.plan.frames) if numbers is None else numbers:
            for camera in range(self.plan.cameras):
                frame = self.frame(camera, number)
                headers = [(BRIDGED_NS, str(frame.sent_ns).encode())]
                wire = encode_frame(frame)
                self._producer.send(topics.FRAMES, key=frame.camera, value=wire, receipt=number, headers=headers)
                sent += 1
        return sent

    def write(self, key: str, wire: bytes) -> None:
        """Put any bytes among the frames."""
        self._producer.send(topics.FRAMES, key=key, value=wire, receipt=-1)

    def close(self) -> None:
        """Wait until Kafka has all frames, then account for them as a fleet would."""
        self._producer.close(within_s=60)
        plan, everything = self.plan, [(0, self.plan.frames - 1)]
        entries: list[Entry] = [
            plan,
            *(
                CameraAccount(
                    run=plan.run,
                    camera=plan.camera(camera),
                    sent=everything,
                    confirmed=everything,
                    unheard=[],
                    refused=[],
                    dropped=[],
                )
                for camera in range(plan.cameras)
            ),
            Closing(run=plan.run, part="fleet", name=plan.fleet, summary={}),
        ]
        accounts = kafka.producer(self._kafka)
        for entry in entries:
            accounts.send(topics.RUNS, key=account.key(entry), value=account.encode(entry), receipt=-1)
        accounts.close(within_s=60)

    def counted(self, folder: Path, *, tiers: str = "cluster") -> Summary:
        """Have a ledger account for the run."""
        out = folder / f"account-{self.plan.run}"
        command = [sys.executable, "-m", "edgewise", "ledger", "--run", self.plan.run, "--out", str(out)]
        command += ["--kafka", self._kafka, "--tiers", tiers, "--settle-s", str(SETTLE_S), *UNTIMED]
        ledger = processes.start(command, name="ledger", log=folder / "ledger.log")
        assert ledger.wait(within_s=120 + SETTLE_S) in {0, 4}, ledger.tail(lines=40)
        return Summary.model_validate_json((out / "summary.json").read_bytes())


class Answers:
    """What consumers have answered and rejected, as it comes; of all runs, so that tests may share a Kafka."""

    def __init__(self, kafka_address: str) -> None:
        topics.ensure(kafka_address)
        self._consumer = kafka.consumer(kafka_address, topics=[topics.RESULTS, topics.REJECTED])
        self._results: dict[str, list[Result]] = {}
        self._rejected: list[Record] = []

    def look(self, *, wait_s: float = 0.1) -> None:
        """Take what has come."""
        for record in self._consumer.take(limit=2000, wait_s=wait_s):
            if record.topic == topics.REJECTED:
                self._rejected.append(record)
                continue
            try:
                result = decode_result(record.value)
            except FrameError:
                continue  # another test's record
            self._results.setdefault(result.run, []).append(result)

    def of(self, run: str) -> Sequence[Result]:
        """Give a run's results, copies too."""
        self.look()
        return self._results.get(run, [])

    def frames(self, run: str) -> set[tuple[str, int]]:
        """Give the frames of a run that have a result."""
        return {(one.camera, one.number) for one in self.of(run)}

    def rejected(self, key: str) -> list[dict[str, str]]:
        """Give the headers of what was rejected of one camera."""
        self.look()
        return [
            {name: value.decode() for name, value in record.headers} for record in self._rejected if record.key == key
        ]

    def wait(self, run: str, *, frames: int, within_s: float = 120.0) -> Sequence[Result]:
        """Wait until so many frames of a run have a result; give all results."""
        eventually(lambda: len(self.frames(run)) >= frames, within_s=within_s)
        return self.of(run)

    def close(self) -> None:
        """Read no more."""
        self._consumer.close()


@contextmanager
def kafka_alone(folder: Path) -> Iterator[Broker]:
    """Give a Kafka of a test's own that answers; leave nothing running."""
    broker = embedded_kafka(folder / "kafka")
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
