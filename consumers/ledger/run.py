"""The ledger as a process: read the run's topics to its end, then write the table and the summary."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from consumers.ledger import summary, table
from consumers.ledger.collect import Collected
from edgewise import dataset, kafka, topics
from edgewise.clock import SECOND_NS, Clock, SystemClock
from edgewise.errors import MissingError
from edgewise.kafka import Client
from edgewise.messages import Tier
from edgewise.parts import Progress, Stop, say
from edgewise.summary import Summary

BATCH: Final = 2000
POLL_S: Final = 0.05


class LedgerSettings(BaseModel):
    """What a ledger is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str
    """The run to account for."""
    tiers: tuple[Tier, ...] = (Tier.GATEWAY,)
    """Which tiers owe a result for each frame."""
    out: Path
    """Folder for frames.parquet and summary.json."""
    settle_s: float = Field(default=10.0, gt=0)
    """After the fleets closed: how long nothing may arrive before what is missing counts as missing."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""


def collect(settings: LedgerSettings, *, clock: Clock, done: Callable[[], bool]) -> Collected:
    """Read until every frame sent is accounted for, or nothing has come for long enough."""
    topics.ensure(settings.kafka, partitions=settings.partitions)
    everything = [topics.RUNS, topics.FRAMES, topics.RESULTS, topics.REJECTED]
    consumer = kafka.consumer(settings.kafka, topics=everything, client=settings.kafka_client)
    collected = Collected(settings.run, clock.now_ns())
    progress = Progress("ledger", clock=clock)
    quiet_since_ns = clock.ticks_ns()
    settle_ns = round(settings.settle_s * SECOND_NS)
    say(f"ledger: accounting for run {settings.run}")
    try:
        while not done() and not collected.complete(settings.tiers):
            records = consumer.take(limit=BATCH, wait_s=POLL_S)
            collected.add(records, now_ns=clock.now_ns())
            if records or not _over(collected, now_ns=clock.now_ns()):
                quiet_since_ns = clock.ticks_ns()
            if clock.ticks_ns() - quiet_since_ns > settle_ns:
                break
            progress.tell(max((len(collected.tiers[tier].first) for tier in settings.tiers), default=0))
        # What was rejected or came twice may be a moment behind the last result.
        while records := consumer.take(limit=BATCH, wait_s=POLL_S):
            collected.add(records, now_ns=clock.now_ns())
    finally:
        consumer.close()
    return collected


def _over(collected: Collected, *, now_ns: int) -> bool:
    """Say whether nothing more is to be expected but what is under way."""
    if collected.fleets_closed():
        return True
    # A fleet that died writes no account: its schedule's end is then the end.
    ends_ns = [plan.start_ns + round((plan.frames + 1) / plan.rate_hz * SECOND_NS) for plan in collected.plans.values()]
    return bool(ends_ns) and now_ns > max(ends_ns)


def run(settings: LedgerSettings) -> tuple[Summary, int]:
    """Account for a run; write the files; give the summary and the exit code: 4 if it is INVALID."""
    stop = Stop()
    _writable(settings.out)
    stop.holding = True
    collected = collect(settings, clock=SystemClock(), done=lambda: stop.asked)
    split = next((plan.split for plan in collected.plans.values()), "test")
    frames = table.make(collected, tiers=settings.tiers, truth=dataset.load(split, say=say).labels)
    counted = summary.make(collected, frames, tiers=settings.tiers)
    table.write(frames, settings.out / "frames.parquet")
    write(counted, settings.out)
    return counted, stop.exit_code or (0 if counted.verdict == "VALID" else 4)


def write(counted: Summary, out: Path) -> None:
    """Write ``summary.json``.

    Raises:
        MissingError: the disk does not take it.
    """
    path = out / "summary.json"
    try:
        path.write_text(counted.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise MissingError(
            f"{path} cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error


def _writable(out: Path) -> None:
    """Refuse a folder that cannot be written before the run, not after it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".probe"
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise MissingError(
            f"{out} cannot be written: {error.strerror}; free some space or choose another --out"
        ) from error
