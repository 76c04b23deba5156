"""A comparison run: its scenario's rounds one after another, each with its own parts, folder and verdict."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers.up import up
from compare import comparison, page, report, runfolder
from compare import scenario as scenarios
from compare.parts import Brokers, Parts
from compare.scenario import Scenario
from consumers.ledger.run import write
from edgewise import dataset, show
from edgewise.account import Closing
from edgewise.clock import Clock, SystemClock
from edgewise.entries import of_run
from edgewise.errors import ConfigError, InvalidRunError, PartDiedError
from edgewise.kafka import Client
from edgewise.messages import Tier
from edgewise.options import BrokerKind
from edgewise.parts import say
from edgewise.summary import Reason, Summary
from models import card
from models.engine import model_file


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


def run(scenario: Scenario, around: Surroundings) -> int:
    """Run it; print the report and, last, the run folder; give the exit code."""
    clock = SystemClock()
    card.known(model_file(scenario.model))
    _refuse_cores(scenario)
    _ = scenario.fleet.schedule  # a trace that cannot be read is said before anything is started
    dataset.load("test", say=say)
    folder = runfolder.make(around.runs, scenario.name, clock=clock)
    (folder / "scenario.toml").write_text(scenarios.text(scenario))
    with _brokers(around, clock) as brokers:
        rounds = order(scenario)
        if len(rounds) == 1:
            summary = _one(scenario, rounds[0], folder, brokers=brokers, clock=clock)
            report.show(summary)
            verdict = summary.verdict
        else:
            compared = comparison.compared(scenario, list(_all(scenario, rounds, folder, brokers=brokers, clock=clock)))
            comparison.write(compared, folder)
            show.table(comparison.rendered(compared))
            verdict = compared.verdict
    show.text(str(folder))  # a run's last line is its folder
    return 0 if verdict == "VALID" else InvalidRunError.exit_code


def order(scenario: Scenario) -> Sequence[tuple[Tier, ...]]:
    """Give the tiers of each run; what goes first in one repeat goes last in the next."""
    rounds = scenario.placement.rounds
    return [one for repeat in range(scenario.repeats) for one in (rounds if repeat % 2 == 0 else rounds[::-1])]


def _all(
    scenario: Scenario, rounds: Sequence[tuple[Tier, ...]], folder: Path, *, brokers: Brokers, clock: Clock
) -> Iterator[tuple[str, Summary]]:
    """Run all rounds; give each one's folder and what it came to."""
    for number, tiers in enumerate(rounds, start=1):
        own = folder / f"{folder.name}-{number:02}-{'-'.join(tiers)}"  # its name is the run's on the bus
        (own / "logs").mkdir(parents=True)
        say(f"run {number} of {len(rounds)}: {' and '.join(tiers)}")
        summary = _one(scenario, tiers, own, brokers=brokers, clock=clock)
        for reason in summary.reasons:
            say(f"INVALID: {report.said(reason)}")
        yield own.name, summary


def _refuse_cores(scenario: Scenario) -> None:
    """Raise ConfigError for cores that this process may not use."""
    allowed = os.sched_getaffinity(0)
    for name, cores in (("gateway", scenario.gateway.cores), ("cluster", scenario.cluster.cores)):
        if missing := sorted(set(cores) - allowed):
            raise ConfigError(f"{name}.cores: there is no core {missing[0]} here; allowed are {sorted(allowed)}")


def _one(scenario: Scenario, tiers: Sequence[Tier], folder: Path, *, brokers: Brokers, clock: Clock) -> Summary:
    """Run one round to its verdict; its folder holds all there is to know of it.

    Raises:
        InvalidRunError: a part died so early that there is nothing to report.
    """
    parts = Parts(scenario, tiers, folder, brokers=brokers, clock=clock)
    died: PartDiedError | None = None
    try:
        parts.start()
        parts.follow()
    except PartDiedError as error:
        died = error
        say(str(error))
    finally:
        parts.stop()
    try:
        summary = report.read(folder)
    except ConfigError:
        if died is None:
            raise
        raise died from None
    entries = of_run(brokers.kafka, folder.name, client=brokers.client, clock=clock)
    closings = [entry for entry in entries if isinstance(entry, Closing)]
    summary = with_costs(with_death(summary, died), closings)
    write(summary, folder)
    runfolder.write_manifest(folder, scenario=_facts(scenario), parts=with_accounts(parts.commands, closings))
    page.write(folder)
    return summary


def with_death(summary: Summary, died: PartDiedError | None) -> Summary:
    """Put a part's death over all other reasons: they are its consequences."""
    if died is None:
        return summary
    follow = f"see the end of its log, logs/{died.part}.log"
    reason = Reason(
        rule=f"{died.part} died",
        found=f"exit code {died.code}",
        limit="runs to the end",
        next=follow,
        consequences=[one for reason in summary.reasons for one in (reason, *reason.consequences)],
    )
    return summary.model_copy(update={"verdict": "INVALID", "reasons": [reason]})


def _facts(scenario: Scenario) -> dict[str, Any]:
    known = card.known(model_file(scenario.model))
    return scenario.model_dump(mode="json") | {
        "model": known.identity,
        "model_accuracy": known.card and known.card.accuracy,
        "dataset_sha256": dataset.SPLITS["test"].sha256,
    }


@contextmanager
def _brokers(around: Surroundings, clock: Clock) -> Iterator[Brokers]:
    """Give both brokers: those there are, or embedded ones while the run lasts."""
    if bool(around.mqtt) != bool(around.kafka):
        raise ConfigError("--mqtt and --kafka go together: give both to use brokers that are there, or none")
    if around.mqtt and around.kafka:
        yield Brokers(around.mqtt, around.kafka, around.kafka_client)
        return
    say("starting an MQTT broker and Kafka ...")
    with up(mqtt_broker=around.mqtt_broker.value, clock=clock) as both:
        say(f"{both.mqtt.name} answers at {both.mqtt.address}, {both.kafka.name} at {both.kafka.address}")
        yield Brokers(both.mqtt.address, both.kafka.address, around.kafka_client)


def with_costs(summary: Summary, parts: Sequence[Closing]) -> Summary:
    """Add each tier's CPU seconds and memory, and a micro-batch's steps, as its processes accounted for them."""
    costed = summary.model_copy(deep=True)
    for name, tier in costed.tiers.items():
        mine = [closing.summary for closing in parts if closing.part == name]
        if mine:
            cpu_s, memory_bytes = (_total(mine, name) for name in ("cpu_s", "memory_bytes"))
            tier.cost(cpu_s=None if cpu_s is None else round(cpu_s, 2))
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
