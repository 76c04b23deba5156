"""A whole system of real parts for one test: brokers and parts as processes, to be killed at will."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from brokers.mqtt.embedded import Choice
from brokers.mqtt.embedded import mqtt as embedded_mqtt
from edgewise import kafka, processes, topics
from edgewise.clock import Deadline, SystemClock
from edgewise.processes import Child
from edgewise.summary import Summary
from tests.real import eventually

RUN = "faulty"


class System:
    """Both brokers, and whatever parts the test starts."""

    def __init__(self, folder: Path, *, mqtt: Broker, kafka: Broker) -> None:
        self.folder, self.mqtt, self.kafka = folder, mqtt, kafka
        self.children: list[Child] = []

    def start(self, part: str, *arguments: str, log: str | None = None) -> Child:
        """Start a part by its own command."""
        command = [sys.executable, "-m", "edgewise", part, *arguments, "--kafka", self.kafka.address]
        if part != "ledger":
            command += ["--mqtt", self.mqtt.address]
        child = processes.start(command, name=part, log=self.folder / f"{log or part}.log")
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

    def ledger(self, *, settle_s: float = 15.0) -> Child:
        """Start a ledger that owes the gateway's results."""
        out = str(self.folder / "account")
        return self.start("ledger", "--run", RUN, "--out", out, "--settle-s", str(settle_s))

    def summary(self) -> Summary:
        """Read what the ledger wrote."""
        return Summary.model_validate_json((self.folder / "account" / "summary.json").read_bytes())

    def said(self, child: Child) -> str:
        """Give all of a part's output."""
        return child.log.read_text(errors="replace")

    def account(self, child: Child) -> dict[str, Any]:
        """Give the account that a part printed at its end."""
        line = next(line for line in reversed(self.said(child).splitlines()) if line.startswith("{"))
        found: dict[str, Any] = json.loads(line)
        return found

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
def running(folder: Path, *, choice: Choice = "mosquitto") -> Iterator[System]:
    """Give a system whose brokers answer; leave nothing running."""
    mqtt, log = embedded_mqtt(folder / "mqtt", choice=choice), embedded_kafka(folder / "kafka")
    system = System(folder, mqtt=mqtt, kafka=log)
    try:
        log.launch()
        mqtt.start()
        log.await_answer()
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


def fates(system: System) -> dict[str, int]:
    """Count the rows of the ledger's table by fate."""
    import pyarrow.parquet as pq

    column = pq.read_table(system.folder / "account" / "frames.parquet", columns=["fate"])["fate"]
    return {found["values"]: found["counts"] for found in column.value_counts().to_pylist()}
