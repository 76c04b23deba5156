"""The processes of one run, each started by its own command, as a user would start it."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from compare.scenario import Placement, Scenario
from consumers.ledger.limits import as_typed
from edgewise import kafka, processes, topics
from edgewise.clock import Clock, Deadline
from edgewise.errors import FrameError, InvalidRunError, PartDiedError
from edgewise.kafka import Client, Record
from edgewise.messages import Tier, decode_result
from edgewise.parts import CLOSE_S, say
from edgewise.processes import Child

LOOK_AGAIN_S: Final = 0.1
QUIET_S: Final = 10.0
"""How long nothing may come after the cameras have ended."""
JUDGE_S: Final = 120.0
"""How long a ledger may take for its table: one of a million frames takes half a minute."""
WAIT_S: Final = 180.0
"""How long the cameras wait for their readers: Spark and a first conversion of the model take a while."""


@dataclass(frozen=True, slots=True)
class Brokers:
    """Where the two brokers answer, and what talks to Kafka."""

    mqtt: str
    kafka: str
    client: Client


class Parts:
    """One run's processes, from start to stop."""

    def __init__(
        self, scenario: Scenario, tiers: Sequence[Tier], folder: Path, *, brokers: Brokers, clock: Clock
    ) -> None:
        self._scenario, self._tiers, self._folder = scenario, tuple(tiers), folder
        self._brokers, self._clock = brokers, clock
        self._children: list[Child] = []
        self.commands: dict[str, list[str]] = {}
        """What was started, by part, as a user would type it."""

    def start(self) -> None:
        """Start every part; the cameras wait until their readers are there."""
        scenario, name = self._scenario, self._folder.name
        run = ("--run", name)
        kafka_only = ("--kafka", self._brokers.kafka, "--kafka-client", self._brokers.client.value, *run)
        both = ("--mqtt", self._brokers.mqtt, *kafka_only)
        # Ids and sessions of this run alone: on brokers that were there before, nothing of it stays behind.
        mine = ("--end-session", "--client-id")
        topics.ensure(self._brokers.kafka)
        tiers = ",".join(self._tiers)
        model = ("--model", scenario.model)
        split = ("--split", str(scenario.fleet.seed)) if self._split else ()
        judged = ["--deadline-ms", str(scenario.deadline_ms), "--settle-s", str(2 * QUIET_S), *split]
        judged += [word for one in as_typed(scenario.limits) for word in ("--limit", one)]
        self._ledger = self._start("ledger", *kafka_only, *model, "--out", str(self._folder), "--tiers", tiers, *judged)
        self._start("bridge", *both, *mine, f"bridge-{name}")
        if Tier.GATEWAY in self._tiers:
            gateway = scenario.gateway
            engine = ("--engine", gateway.engine, "--threads", str(gateway.threads))
            self._start("gateway", *both, *mine, f"gateway-{name}", *model, *engine, *split, cores=gateway.cores)
        if Tier.CLUSTER in self._tiers:
            self._start("cluster", *kafka_only, *model, *self._spark(), *split, cores=scenario.cluster.cores)
        fleet = scenario.fleet
        sizes = ("--cameras", fleet.cameras, "--rate-hz", fleet.rate_hz, "--duration-s", fleet.duration_s)
        self._fleet = self._start(
            "fleet",
            *(*both, "--arrival", fleet.arrival, *(() if fleet.arrival.startswith("trace:") else map(str, sizes))),
            *("--codec", fleet.codec.value, "--order", fleet.order, "--seed", str(fleet.seed)),
            *("--wait-for", f"bridge,{tiers}", "--wait-s", str(WAIT_S)),
        )

    @property
    def _split(self) -> bool:
        """Say whether each frame goes to one tier alone."""
        return self._scenario.placement is Placement.SPLIT

    def _spark(self) -> Sequence[str]:
        cluster = self._scenario.cluster
        master = ("--master", cluster.master) if cluster.master else ()
        sizes = ("--tasks", cluster.tasks, "--trigger-ms", cluster.trigger_ms, "--batch-max", cluster.batch_max)
        kept = ("--checkpoint", self._folder / "checkpoint", "--log", self._folder / "logs" / "spark.log")
        return [*master, "--engine", cluster.engine, *map(str, (*sizes, *kept))]

    def _start(self, part: str, *arguments: str, cores: Sequence[int] = ()) -> Child:
        command = [sys.executable, "-m", "edgewise", part, *arguments]
        self.commands[part] = ["edgewise", part, *arguments]
        log = self._folder / "logs" / f"{part}.log"
        child = processes.start(command, name=f"the {part}", log=log, cores=cores)
        self._children.append(child)
        return child

    def follow(self) -> None:
        """Show how it goes until the ledger has accounted for every frame, or nothing has come for long enough.

        What is missing then is missing. The ledger still runs: it reads the accounts that the
        others write when they are stopped, and so tells results that were lost from frames
        that were never answered.

        Raises:
            PartDiedError: a part ended by itself.
        """
        schedule = self._scenario.fleet.schedule
        total = schedule.cameras * schedule.frames
        watched = [topics.FRAMES, topics.RESULTS]
        consumer = kafka.consumer(self._brokers.kafka, topics=watched, client=self._brokers.client, from_end=True)
        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        say("starting the parts; the cameras begin when all their readers are there ...")
        try:
            with Progress(*columns, console=Console(file=sys.stderr)) as progress:
                bars = {topics.FRAMES: progress.add_task("frames in Kafka", total=total)}
                each = None if self._split else total  # the rule divides them evenly, and not exactly so
                bars |= {tier.value: progress.add_task(f"{tier} results", total=each) for tier in self._tiers}
                quiet = Deadline(self._clock, within_s=QUIET_S)
                while self._ledger.running() and not quiet.passed():
                    records = consumer.take(limit=2000, wait_s=LOOK_AGAIN_S)
                    for record in records:
                        if (bar := bars.get(_kind(record))) is not None:
                            progress.advance(bar)
                    if records or self._fleet.running():
                        quiet = Deadline(self._clock, within_s=QUIET_S)
                    self._check()
        finally:
            consumer.close()
        self._check()

    def _check(self) -> None:
        may_end = {self._fleet: (0,), self._ledger: (0, InvalidRunError.exit_code)}
        for child in self._children:
            if not child.running() and child.exit_code not in may_end.get(child, ()):
                part, said = child.log.stem, f"the end of {child.log}:\n{child.tail()}"
                raise PartDiedError(part, code=child.exit_code, said=said)

    def stop(self) -> None:
        """Stop what still runs: consumers write their closing accounts, a ledger what it knows so far."""
        accounted = [child for child in self._children if child is not self._ledger]
        # The ledger last: it reads the others' accounts.
        for some, within_s in ((accounted, CLOSE_S + 2), ([self._ledger], JUDGE_S)):
            processes.stop_all(some, within_s=within_s, clock=self._clock)


def _kind(record: Record) -> str:
    """Say which bar a record moves: its topic's, or that of the tier whose result it is."""
    if record.topic != topics.RESULTS:
        return record.topic
    try:
        return decode_result(record.value).tier
    except FrameError:
        return record.topic
