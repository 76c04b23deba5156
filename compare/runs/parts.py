"""The processes of one run, each started by its own command, as a user would start it."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from brokers.broker import Broker
from compare.runs.observing import NOT_OBSERVED, Observing
from compare.scenario import Fleet, Placement, Scenario
from consumers.ledger.limits import as_typed
from edgewise import processes, topics
from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.errors import InvalidRunError, PartDiedError, UnreachableError
from edgewise.kafka import Client
from edgewise.messages import Tier
from edgewise.options import METRICS_PORT
from edgewise.parts import CLOSE_S, say
from edgewise.processes import Child

LOOK_AGAIN_S: Final = 0.25
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
    own: Mapping[str, Broker] = field(default_factory=dict)
    """Those that were started for the run, by what people call them."""


class Parts:
    """One run's processes, from start to stop."""

    def __init__(
        self,
        scenario: Scenario,
        tiers: Sequence[Tier],
        folder: Path,
        *,
        brokers: Brokers,
        clock: Clock,
        observing: Observing = NOT_OBSERVED,
    ) -> None:
        self._scenario, self._tiers, self._folder = scenario, tuple(tiers), folder
        self._brokers, self._clock, self._observing = brokers, clock, observing
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
        models = {tier: ("--model", scenario.model_of(tier)) for tier in self._tiers}
        # Of two models the ledger is told the scenario's: it says which of the tiers ran another.
        model = next(iter(models.values())) if len(set(models.values())) == 1 else ("--model", scenario.model)
        split = ("--split", str(scenario.fleet.seed)) if self._split else ()
        judged = ["--deadline-ms", str(scenario.deadline_ms), "--settle-s", str(2 * scenario.drain_s), *split]
        judged += [word for one in as_typed(scenario.limits) for word in ("--limit", one)]
        self._ledger = self._start("ledger", *kafka_only, *model, "--out", str(self._folder), "--tiers", tiers, *judged)
        self._start("bridge", *both, *mine, f"bridge-{name}")
        if Tier.GATEWAY in self._tiers:
            gateway = scenario.gateway
            engine = ("--engine", gateway.engine, "--threads", str(gateway.threads))
            asked = (*models[Tier.GATEWAY], *engine, *split)
            self._start("gateway", *both, *mine, f"gateway-{name}", *asked, cores=gateway.cores)
        if Tier.CLUSTER in self._tiers:
            asked = (*models[Tier.CLUSTER], *self._spark(), *split)
            self._start("cluster", *kafka_only, *asked, cores=scenario.cluster.cores)
        fleet = scenario.fleet
        sizes = ("--cameras", fleet.cameras, "--rate-hz", fleet.rate_hz, "--duration-s", fleet.duration_s)
        self._fleet = self._start(
            "fleet",
            *(*both, "--arrival", fleet.arrival, *(() if fleet.arrival.startswith("trace:") else map(str, sizes))),
            *("--codec", fleet.codec.value, "--order", fleet.order, "--seed", str(fleet.seed)),
            *_if_said(fleet, "images", "link", "churn", "clock_ahead_s", "connections"),
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
        kept = ("--checkpoint", self._folder / "checkpoint", "--spark-log", self._folder / "logs" / "spark.log")
        # The cameras wait until it reads: what was there before is other runs', with what it would reject of theirs.
        return [*master, "--engine", cluster.engine, "--start", "latest", *map(str, (*sizes, *kept))]

    def _start(self, part: str, *arguments: str, cores: Sequence[int] = ()) -> Child:
        said = [part, *arguments, *self._observing.options(part, self._folder)]
        command = [sys.executable, "-m", "edgewise", *said]
        self.commands[part] = ["edgewise", *said]
        log = self._folder / "logs" / f"{part}.log"
        # They would all take the one port, and the second to start would end the run: see Observing.
        env = {name: value for name, value in os.environ.items() if name != METRICS_PORT}
        child = processes.start(command, name=f"the {part}", log=log, env=env, cores=cores)
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
        bars = {topics.FRAMES: ("frames in Kafka", total)}
        bars[topics.RESULTS] = ("results", total if self._split else total * len(self._tiers))
        columns = (TextColumn("{task.description:<15}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        say("starting the parts; the cameras begin when all their readers are there ...")
        # Only counted: whoever reads the frames, or opens the results, takes a share of the cores that are measured.
        with (
            topics.growth(self._brokers.kafka, list(bars)) as grown,
            Progress(*columns, console=Console(file=sys.stderr)) as progress,
        ):
            tasks = {name: progress.add_task(says, total=most) for name, (says, most) in bars.items()}
            quiet, drain_s = Deadline(self._clock, within_s=0), self._scenario.drain_s
            before: Mapping[str, int] = {}
            while self._ledger.running() and not (before and quiet.passed()):
                found = self._asked(grown)
                for name, task in tasks.items():
                    progress.update(task, completed=found[name])
                if found != before or self._fleet.running():
                    quiet, before = Deadline(self._clock, within_s=drain_s), found
                self._check()
                self._clock.sleep_until(self._clock.ticks_ns() + round(LOOK_AGAIN_S * SECOND_NS))
        self._check()

    def _asked(self, grown: Callable[[], Mapping[str, int]]) -> Mapping[str, int]:
        try:
            return grown()
        except UnreachableError:
            self._check()  # a Kafka of our own that died is more than one that does not answer
            raise

    def _check(self) -> None:
        for name, broker in self._brokers.own.items():
            if broker.pid is None:  # before the parts: they end for want of it
                log = self._folder / "logs" / f"{name.lower().replace(' ', '-')}.log"
                shutil.copy(broker.log, log)  # its own goes with it
                kept = str(log.relative_to(self._folder))
                raise PartDiedError(name, code=broker.exit_code, log=kept, last_words=broker.last_lines())
        may_end = {self._fleet: (0,), self._ledger: (0, InvalidRunError.exit_code)}
        for child in self._children:
            if not child.running() and child.exit_code not in may_end.get(child, ()):
                kept = str(child.log.relative_to(self._folder))
                raise PartDiedError(child.log.stem, code=child.exit_code, log=kept, last_words=child.last_lines())

    def stop(self) -> None:
        """Stop what still runs: consumers write their closing accounts, a ledger what it knows so far."""
        accounted = [child for child in self._children if child is not self._ledger]
        # The ledger last: it reads the others' accounts.
        for some, within_s in ((accounted, CLOSE_S + 2), ([self._ledger], JUDGE_S)):
            processes.stop_all(some, within_s=within_s, clock=self._clock)


def _if_said(fleet: Fleet, *names: str) -> Iterator[str]:
    """Give the options of a fleet that are not what they are anyway."""
    for name in names:
        if value := getattr(fleet, name):
            yield from ("--" + name.replace("_", "-"), str(value))
