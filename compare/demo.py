"""One short run of everything on this machine, each part a process started by its own command."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brokers.up import up
from compare import report, runfolder
from consumers.ledger.run import write
from edgewise import dataset, kafka, processes, show, topics
from edgewise.account import Closing
from edgewise.clock import Clock, SystemClock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, FrameError, InvalidRunError
from edgewise.kafka import Client, Record
from edgewise.messages import Codec, Tier, decode_result
from edgewise.options import BrokerKind
from edgewise.parts import CLOSE_S, say
from edgewise.processes import Child
from edgewise.summary import Summary
from models import card
from models.engine import model_file

LOOK_AGAIN_S: Final = 0.1
WAIT_S: Final = 180.0
"""How long the cameras wait for their readers: Spark and a first conversion of the model take a while."""


class DemoSettings(BaseModel):
    """What a demo run is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cameras: int = Field(default=4, ge=1)
    """How many."""
    rate_hz: float = Field(default=15.0, gt=0)
    """Frames a second of each camera."""
    frames: int = Field(default=600, ge=1)
    """Frames of each camera."""
    codec: Codec = Codec.RAW
    """Of the payloads."""
    order: Literal["stored", "shuffled"] = "stored"
    """Of the images."""
    seed: int = Field(default=1, ge=0)
    """Of phases and image order."""
    model: str = "resnet20"
    """A shipped model's name, or a .keras or .onnx file."""
    tiers: tuple[Tier, ...] = Field(default=(Tier.GATEWAY, Tier.CLUSTER), min_length=1)
    """Which classify the frames."""
    cluster_engine: str = "bigdl"
    """What runs the model on the cluster."""
    master: str = ""
    """Spark's; empty is local, with all cores but one."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    mqtt: str | None = None
    """A broker that is there already, host:port; with ``kafka``, or not at all."""
    kafka: str | None = None
    """The same for Kafka."""
    mqtt_broker: BrokerKind = BrokerKind.AUTO
    """Which MQTT broker is started otherwise."""
    runs: Path = Path("runs")
    """Where the run folder is made."""


def run(settings: DemoSettings) -> int:
    """Run it; print the report and, last, the run folder; give the exit code."""
    clock = SystemClock()
    model = card.known(model_file(settings.model))
    dataset.load("test", say=say)
    folder = runfolder.make(settings.runs, "demo", clock=clock)
    with _brokers(settings, clock) as (mqtt, kafka_address):
        parts = _Parts(settings, folder, mqtt=mqtt, kafka_address=kafka_address, clock=clock)
        try:
            parts.start()
            summary = parts.run()
        finally:
            parts.stop()
        entries = of_run(kafka_address, folder.name, client=settings.kafka_client, clock=clock)
        closings = [entry for entry in entries if isinstance(entry, Closing)]
        summary = with_costs(summary, closings)
    write(summary, folder)
    facts = {
        "model": model.identity,
        "model_accuracy": model.card and model.card.accuracy,
        "dataset_sha256": dataset.SPLITS["test"].sha256,
    }
    ran = with_accounts(parts.commands, closings)
    runfolder.write_manifest(folder, scenario=settings.model_dump(mode="json") | facts, parts=ran)
    report.show(summary)
    show.text(str(folder))  # a run's last line is its folder
    return 0 if summary.verdict == "VALID" else InvalidRunError.exit_code


@contextmanager
def _brokers(settings: DemoSettings, clock: Clock) -> Iterator[tuple[str, str]]:
    """Give the addresses of both brokers: those there are, or embedded ones while the run lasts."""
    if bool(settings.mqtt) != bool(settings.kafka):
        raise ConfigError("--mqtt and --kafka go together: give both to use brokers that are there, or none")
    if settings.mqtt and settings.kafka:
        yield settings.mqtt, settings.kafka
        return
    say("starting an MQTT broker and Kafka ...")
    with up(mqtt_broker=settings.mqtt_broker.value, clock=clock) as both:
        say(f"{both.mqtt.name} answers at {both.mqtt.address}, {both.kafka.name} at {both.kafka.address}")
        yield both.mqtt.address, both.kafka.address


class _Parts:
    """The processes of one run."""

    def __init__(self, settings: DemoSettings, folder: Path, *, mqtt: str, kafka_address: str, clock: Clock) -> None:
        self._settings, self._folder, self._clock, self._kafka = settings, folder, clock, kafka_address
        self._children: list[Child] = []
        self.commands: dict[str, list[str]] = {}
        self._mqtt = mqtt

    def start(self) -> None:
        """Start every part; the cameras wait until their readers are there."""
        settings, name = self._settings, self._folder.name
        run = ("--run", name)
        client = ("--kafka-client", settings.kafka_client.value)
        both = ("--mqtt", self._mqtt, "--kafka", self._kafka, *client)
        # Ids and sessions of this run alone: on brokers that were there before, nothing of it stays behind.
        mine = ("--end-session", "--client-id")
        topics.ensure(self._kafka)
        tiers = ",".join(tier.value for tier in settings.tiers)
        out = ("--out", str(self._folder))
        model = ("--model", settings.model)
        self._ledger = self._start("ledger", "--kafka", self._kafka, *client, *run, *out, "--tiers", tiers)
        self._start("bridge", *both, *run, *mine, f"bridge-{name}")
        if Tier.GATEWAY in settings.tiers:
            self._start("gateway", *both, *run, *mine, f"gateway-{name}", *model)
        if Tier.CLUSTER in settings.tiers:
            spark = ("--engine", settings.cluster_engine, *(("--master", settings.master) if settings.master else ()))
            kept = ("--checkpoint", str(self._folder / "checkpoint"), "--log", str(self._folder / "logs" / "spark.log"))
            self._start("cluster", "--kafka", self._kafka, *client, *run, *model, *spark, *kept)
        self._fleet = self._start(
            "fleet",
            *(*both, *run, "--cameras", str(settings.cameras), "--rate-hz", str(settings.rate_hz)),
            *("--frames", str(settings.frames), "--codec", settings.codec.value),
            *("--order", settings.order, "--seed", str(settings.seed)),
            *("--wait-for", f"bridge,{tiers}", "--wait-s", str(WAIT_S)),
        )

    def _start(self, part: str, *arguments: str) -> Child:
        command = [sys.executable, "-m", "edgewise", part, *arguments]
        self.commands[part] = ["edgewise", part, *arguments]
        child = processes.start(command, name=f"the {part}", log=self._folder / "logs" / f"{part}.log")
        self._children.append(child)
        return child

    def run(self) -> Summary:
        """Show how it goes until the ledger has accounted for every frame.

        Raises:
            InvalidRunError: a part ended by itself.
        """
        total = self._settings.cameras * self._settings.frames
        watched = [topics.FRAMES, topics.RESULTS]
        consumer = kafka.consumer(self._kafka, topics=watched, client=self._settings.kafka_client, from_end=True)
        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        say("starting the parts; the cameras begin when all their readers are there ...")
        with Progress(*columns, console=Console(file=sys.stderr)) as progress:
            bars = {topics.FRAMES: progress.add_task("frames in Kafka", total=total)}
            bars |= {tier.value: progress.add_task(f"{tier} results", total=total) for tier in self._settings.tiers}
            while self._ledger.running():
                for record in consumer.take(limit=2000, wait_s=LOOK_AGAIN_S):
                    if (bar := bars.get(_kind(record))) is not None:
                        progress.advance(bar)
                self._check()
        consumer.close()
        self._check()
        return report.read(self._folder)

    def _check(self) -> None:
        """Raise InvalidRunError, with its last words, if a part ended that should not have."""
        may_end = {self._fleet: (0,), self._ledger: (0, InvalidRunError.exit_code)}
        for child in self._children:
            if not child.running() and child.exit_code not in may_end.get(child, ()):
                raise InvalidRunError(
                    f"{child.name} ended with exit code {child.exit_code}; the end of {child.log}:\n{child.tail()}"
                )

    def stop(self) -> None:
        """Stop what still runs: consumers write their closing accounts."""
        processes.stop_all(self._children, within_s=CLOSE_S + 2, clock=self._clock)


def _kind(record: Record) -> str:
    """Say which bar a record moves: its topic's, or that of the tier whose result it is."""
    if record.topic != topics.RESULTS:
        return record.topic
    try:
        return decode_result(record.value).tier
    except FrameError:
        return record.topic


def with_costs(summary: Summary, parts: Sequence[Closing]) -> Summary:
    """Add each tier's CPU seconds and memory, and a micro-batch's steps, as its processes accounted for them."""
    costed = summary.model_copy(deep=True)
    for name, tier in costed.tiers.items():
        mine = [closing.summary for closing in parts if closing.part == name]
        if mine:
            cpu_s, memory_bytes = (_total(mine, name) for name in ("cpu_s", "memory_bytes"))
            tier.cpu_s = None if cpu_s is None else round(cpu_s, 2)
            tier.memory_bytes = None if memory_bytes is None else int(memory_bytes)
            tier.micro_batch_ms = report.micro_batch_ms(mine)
    return costed


def with_accounts(commands: Mapping[str, Sequence[str]], closings: Sequence[Closing]) -> dict[str, dict[str, Any]]:
    """Set beside each part's command what it said of itself at its end: tasks, cores, engine, what it spent."""
    return {
        part: {"command": list(command), "accounts": [one.summary for one in closings if one.part == part]}
        for part, command in commands.items()
    }


def _total(accounts: Sequence[Mapping[str, object]], name: str) -> float | None:
    """Add up one number of each account; None if one of them does not have it: that sum was not measured."""
    numbers = [found for one in accounts if isinstance(found := one.get(name), int | float) and math.isfinite(found)]
    return sum(numbers) if len(numbers) == len(accounts) else None
