"""The runs of a scenario, one after the other: each has its own parts, folder and verdict."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from brokers.up import up
from compare import tariff
from compare.reports import page, report
from compare.runs import ceiling, cores, runfolder, steadiness
from compare.runs.ceiling import Ceilings
from compare.runs.laps import Laps
from compare.runs.observing import NOT_OBSERVED, Observing
from compare.runs.parts import Brokers, Parts
from compare.runs.ran import Ran, death
from compare.runs.steadiness import Watch
from compare.scenario import Fleet, Scenario
from compare.tariff import Tariff
from consumers.ledger import rules
from consumers.ledger.run import write
from edgewise import security
from edgewise.account import Closing, Entry, Plan
from edgewise.clock import Clock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, PartDiedError, UnreachableError
from edgewise.kafka import Client
from edgewise.messages import Tier
from edgewise.options import BrokerKind
from edgewise.parts import say
from edgewise.summary import Generator, Steadiness, Summary
from models import card
from models.engine import model_file

NO_DEATH_DOES: Final = frozenset(
    {rules.MODELS, rules.CLOCK, rules.CLOCK_OFF, rules.COUNTED_TWICE, rules.OTHERS, rules.OTHER_DATA, rules.WRONG_IMAGE}
)
"""Rules that are broken by something else, whoever died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run stands in: no part of what is compared."""

    mqtt: str | None = None
    """A broker that is there already, host:port; with ``kafka``, or not at all."""
    kafka: str | None = None
    """The same for Kafka."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    mqtt_broker: BrokerKind = BrokerKind.AUTO
    """Which MQTT broker is started otherwise."""
    runs: Path = Path("runs")
    """Where the run folder is made."""
    observing: Observing = NOT_OBSERVED
    """How its parts may be looked at meanwhile."""


class Runs:
    """All runs of one command, in folders inside its own."""

    def __init__(self, folder: Path, around: Surroundings, *, clock: Clock) -> None:
        self.folder = folder
        self.laps = Laps(clock)
        self._around, self._clock = around, clock
        self._count = 0
        self._ceilings = Ceilings(self._measured_hz)
        self._brokers: Brokers | None = None

    @contextmanager
    def brokers(self) -> Iterator[None]:
        """Have both brokers while the block lasts: those there are, or embedded ones, new and empty."""
        around = self._around
        if bool(around.mqtt) != bool(around.kafka):
            raise ConfigError("--mqtt and --kafka go together: give both to use brokers that are there, or none")
        if around.mqtt and around.kafka:
            self._brokers = Brokers(around.mqtt, around.kafka, around.kafka_client)
            yield
            return
        say("starting an MQTT broker and Kafka ...")
        with ExitStack() as until_done:
            with self.laps.lap("brokers"):  # their start alone, not the block
                both = until_done.enter_context(
                    up(mqtt_broker=around.mqtt_broker.value, secured=security.named(), clock=self._clock)
                )
            say(f"{both.mqtt.name} answers at {both.mqtt.address}, {both.kafka.name} at {both.kafka.address}")
            own = {"MQTT broker": both.mqtt, "Kafka": both.kafka}
            self._brokers = Brokers(both.mqtt.address, both.kafka.address, around.kafka_client, own)
            yield

    def generator(self, scenario: Scenario) -> Generator:
        """Set what a scenario asks of its cameras beside what they can send, which is measured once for each fleet."""
        return self._ceilings.of(scenario.fleet)

    def _measured_hz(self, fleet: Fleet) -> float:
        say("measuring what the cameras can send ...")
        with self.laps.lap("generator"):
            return ceiling.measured_hz(fleet, clock=self._clock)

    def refuse(self, *scenarios: Scenario) -> None:
        """Refuse scenarios that ask too much of their cameras, before any of them is run.

        Raises:
            ConfigError: one of them asks more of its cameras than it may.
        """
        for one in scenarios:
            ceiling.refuse(self.generator(one))

    def next(self, scenario: Scenario, tiers: Sequence[Tier]) -> Ran:
        """Run one round in a folder of its own inside the whole's.

        Raises:
            EdgewiseError: it could not be run.
        """
        self._count += 1
        own = self.folder / f"{self.folder.name}-{self._count:02}-{'-'.join(tiers)}"  # its name is the run's on the bus
        (own / "logs").mkdir(parents=True)
        say(f"run {self._count}: {' and '.join(tiers)}, {scenario.fleet.offered_hz:,.1f} frames/s")
        summary, died = None, None
        try:
            summary = self._one(scenario, tiers, own)
        except PartDiedError as error:
            died = death(error)
        ran = Ran(own.name, tuple(tiers), summary, died, lambda: runfolder.frames(own))
        for reason in ran.reasons:
            say(f"INVALID: {report.said(reason)}")
        return ran

    def alone(self, scenario: Scenario, tiers: Sequence[Tier]) -> Summary:
        """Run the only round, in the whole's folder."""
        return self._one(scenario, tiers, self.folder)

    def _one(self, scenario: Scenario, tiers: Sequence[Tier], folder: Path) -> Summary:
        """Run one round to its verdict; its folder holds all there is to know of it.

        Raises:
            ConfigError: more is asked of the cameras than may be.
            PartDiedError: a part died so early that there is nothing to report.
        """
        assert self._brokers is not None  # noqa: S101 - the caller's block
        brokers, clock = self._brokers, self._clock
        ceiling.refuse(generator := self.generator(scenario))
        parts = Parts(scenario, tiers, folder, brokers=brokers, clock=clock, observing=self._around.observing)
        watch = Watch(os.sched_getaffinity(0) | set(scenario.gateway.cores) | set(scenario.cluster.cores), clock=clock)
        died: PartDiedError | None = None
        began_ns = clock.now_ns()
        try:
            with watch:
                parts.start()
                parts.follow()
        except PartDiedError as error:
            died = error
            say(str(error))
        finally:
            ended_ns = clock.now_ns()
            with self.laps.lap("stop"):
                parts.stop()
        try:
            summary = report.read(folder)
        except ConfigError:
            if died is None:
                raise
            raise died from None
        with self.laps.lap("report"):
            entries = self._entries(folder.name, died)
            plans = [entry for entry in entries if isinstance(entry, Plan)]
            self.laps.divide(began_ns, ended_ns, plans)
            closings = [entry for entry in entries if isinstance(entry, Closing)]
            summary = with_costs(with_death(summary, died), closings).model_copy(
                update={"generator": generator, "co_located": cores.co_located(scenario, tiers)}
            )
            sending = {
                "from_ns": min((plan.start_ns for plan in plans), default=began_ns),
                "until_ns": max((plan.end_ns() for plan in plans), default=ended_ns),
            }
            summary = with_steadiness(summary, watch.found(**sending))
            prices = tariff.read(scenario.tariff)
            summary = tariff.priced(summary, prices)
            write(summary, folder)
            facts = _facts(scenario, plans, prices)
            runfolder.write_manifest(folder, scenario=facts, parts=with_accounts(parts.commands, closings))
            page.write(folder)
        return summary

    def _entries(self, run: str, died: PartDiedError | None) -> Sequence[Entry]:
        """Give what the parts wrote of a run; nothing where Kafka died with it."""
        assert self._brokers is not None  # noqa: S101 - the caller's block
        try:
            return of_run(self._brokers.kafka, run, client=self._brokers.client, clock=self._clock)
        except UnreachableError:
            if died is None:
                raise
            return []


def with_death(summary: Summary, died: PartDiedError | None) -> Summary:
    """Put a part's death over all other reasons that may follow from it."""
    if died is None:
        return summary
    of_itself = [one for one in summary.reasons if one.rule.split(" in ")[0] in NO_DEATH_DOES]
    below = [
        one.model_copy(update={"consequences": []})
        for reason in summary.reasons
        if reason not in of_itself
        for one in (reason, *reason.consequences)
    ]
    return summary.model_copy(update={"verdict": "INVALID", "reasons": [death(died, below), *of_itself]})


def _facts(scenario: Scenario, plans: Sequence[Plan], prices: Tariff | None) -> dict[str, Any]:
    known = card.known(model_file(scenario.model))
    dumped = scenario.model_dump(mode="json")
    for tier in Tier:
        if own := dumped[tier]["model"]:  # a file's name is no identity
            dumped[tier]["model"] = card.known(model_file(own)).identity
    return dumped | {
        "model": known.identity,
        "model_accuracy": known.card and known.card.accuracy,
        "dataset_sha256": ", ".join(sorted({plan.dataset_sha256 for plan in plans})),
        "tariff": prices and prices.model_dump(mode="json"),
    }


def with_steadiness(summary: Summary, found: Steadiness | None) -> Summary:
    """Add how evenly the machine worked, and a remark if that was not evenly enough."""
    remarks = [*summary.remarks, *([steadiness.remark(found)] if found and steadiness.unsteady(found) else [])]
    return summary.model_copy(update={"steadiness": found, "remarks": remarks})


def with_costs(summary: Summary, parts: Sequence[Closing]) -> Summary:
    """Add each tier's CPU seconds and memory, and a micro-batch's steps, as its processes accounted for them."""
    costed = summary.model_copy(deep=True)
    for name, tier in costed.tiers.items():
        mine = [closing.summary for closing in parts if closing.part == name]
        if mine:
            cpu_s, start_s, memory_bytes = (_total(mine, name) for name in ("cpu_s", "cpu_start_s", "memory_bytes"))
            tier.cost(cpu_s=None if cpu_s is None else round(cpu_s, 2))
            tier.cpu_start_s = None if start_s is None else round(start_s, 2)
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
