"""The ledger as a process: read the run's topics to its end, then write the table and the summary."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from consumers.ledger import summary, table
from consumers.ledger.collect import Collected
from consumers.ledger.seen import Seen
from consumers.ledger.traces import Traces
from consumers.ledger.truth import Truth
from edgewise import dataset, kafka, otlp, topics
from edgewise.clock import SECOND_NS, Clock, Deadline, SystemClock
from edgewise.endpoint import NOWHERE, Place, Told, serving
from edgewise.errors import MissingError, RefusedError, UnreachableError
from edgewise.kafka import Client, Consumer, Producer
from edgewise.messages import Tier
from edgewise.otlp import Writer
from edgewise.parts import Progress, Stop, say, warn
from edgewise.soundings import sound
from edgewise.summary import Limits, Summary
from models import card
from models.card import Card
from models.engine import model_file

BATCH: Final = 2000
POLL_S: Final = 0.05
CATCH_UP_S: Final = 0.5
"""How often a ledger that has not caught up asks whether it has."""
FOLD_S: Final = 0.5
"""How often what came is counted for whoever scrapes."""
LAG_S: Final = 2.0
"""How often one that is scraped asks how much it has not read."""
DRAIN_S: Final = 10.0
"""How long it reads on at the end, at most."""
SOUNDED_S: Final = 2.0
"""And for its own last look at Kafka's clock."""


def _each_once(tiers: tuple[Tier, ...]) -> tuple[Tier, ...]:
    """Refuse a tier that is named twice: its frames would count twice."""
    if len(set(tiers)) < len(tiers):
        raise ValueError("a tier is named twice")
    return tiers


class LedgerSettings(BaseModel):
    """What a ledger is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str
    """The run to account for."""
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1), AfterValidator(_each_once)] = (Tier.GATEWAY,)
    """Which tiers owe results."""
    out: Path
    """Folder for frames.parquet and summary.json."""
    settle_s: float = Field(default=10.0, gt=0)
    """After the fleets closed: how long nothing may arrive before what is missing counts as missing."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    deadline_ms: float = Field(default=summary.DEADLINE_MS, gt=0)
    """From due to seen: by when an answer is on time."""
    limits: Limits = Limits()
    """What the run may come to and still be VALID."""
    split_seed: int | None = Field(default=None, ge=0)
    """Of the rule by which each frame is owed by one tier: the tiers' own. None if every tier owes every frame."""
    model: str = ""
    """What the tiers were given, if engines may stand for it; empty: their models must have the same identity."""
    metrics: Place = NOWHERE
    """Where a Prometheus may scrape it while the run goes on."""
    trace_out: str = ""
    """Where the traces of frames that are followed go: a file, or a collector's address. Empty: nowhere."""


class _Reading:
    """The topics of one run under a ledger's eyes."""

    def __init__(self, consumer: Consumer, collected: Collected, *, clock: Clock, truth: Truth) -> None:
        self._consumer, self._clock, self._truth = consumer, clock, truth
        self._away = self._said = False
        self._next_look_ns = clock.ticks_ns()
        self._fold_due = self._lag_due = Deadline(clock, within_s=0)
        self.collected = collected
        self.seen: Seen | None = None
        """What is told of it meanwhile, if anybody wants to know."""
        self.traces: Traces | None = None
        """What is written of frames that are followed, if that is asked for."""

    def take(self) -> bool:
        """Take what there is; say whether there was any."""
        records = self._consumer.take(limit=BATCH, wait_s=POLL_S)
        self.collected.add(records, now_ns=self._clock.now_ns())
        for plan in self.collected.plans.values():
            self._truth.labels(plan)  # a split that nobody had asked for is loaded now, and not after the run
        if self._fold_due.passed():
            self._fold_due = Deadline(self._clock, within_s=FOLD_S)
            if self.traces is not None:
                self.traces.fold()
            self._measure()
        return bool(records)

    def _measure(self) -> None:
        """Count what came, and ask now and then how much is not read, for whoever scrapes."""
        if self.seen is None:
            return
        self.seen.fold()
        if not self._lag_due.passed():
            return
        try:
            self.seen.lag = self._consumer.lag()
        except UnreachableError:
            self.seen.lag = None
        self._lag_due = Deadline(self._clock, within_s=LAG_S)

    def behind(self) -> bool:
        """Say whether there is more to take; a Kafka that is away, or has just come back, may have more."""
        was_away = self._away
        try:
            lag, self._away = self._consumer.lag(), False
        except UnreachableError as error:
            if not self._said:
                warn(f"ledger: {error}; waiting for it")
            self._away = self._said = True
            return True
        return lag > 0 or was_away

    def catch_up(self) -> None:
        """Notice when everything was read for the first time."""
        if self.collected.caught_up_ns is not None or self._clock.ticks_ns() < self._next_look_ns:
            return
        if not self.behind():
            self.collected.caught_up_ns = self._clock.now_ns()
        self._next_look_ns = self._clock.ticks_ns() + round(CATCH_UP_S * SECOND_NS)


def collect(settings: LedgerSettings, *, clock: Clock, done: Callable[[], bool], truth: Truth, told: Told) -> Collected:
    """Open the topics and follow them."""
    topics.ensure(settings.kafka, partitions=settings.partitions)
    everything = [topics.RUNS, topics.FRAMES, topics.RESULTS, topics.REJECTED]
    consumer = kafka.consumer(settings.kafka, topics=everything, client=settings.kafka_client)
    say(f"ledger: accounting for run {settings.run}")
    producer = kafka.producer(settings.kafka, client=settings.kafka_client)
    try:
        _sound(producer, settings, clock=clock)
        with otlp.writing(settings.trace_out) as spans:
            collected = follow(consumer, settings, clock=clock, done=done, truth=truth, told=told, spans=spans)
        sound_again(collected, consumer, producer, settings, clock=clock)
        return collected
    finally:
        producer.abandon()
        consumer.close()


def sound_again(
    collected: Collected, consumer: Consumer, producer: Producer, settings: LedgerSettings, *, clock: Clock
) -> None:
    """Compare clocks once more, and read what that wrote; a Kafka that has gone meanwhile is not waited for."""
    if not _sound(producer, settings, clock=clock) or collected.caught_up_ns is None:
        return
    drained = Deadline(clock, within_s=SOUNDED_S)
    with suppress(UnreachableError):
        while not drained.passed() and consumer.lag():
            collected.add(consumer.take(limit=BATCH, wait_s=POLL_S), now_ns=clock.now_ns())


def _sound(producer: Producer, settings: LedgerSettings, *, clock: Clock) -> bool:
    """Compare the ledger's clock with Kafka's, as every part does; an account is given without that, too."""
    try:
        return sound(producer, part="ledger", name="ledger", run=settings.run, clock=clock)
    except (UnreachableError, RefusedError) as error:
        warn(f"ledger: {error}; how far the parts' clocks are off is not told")
        return False


def follow(
    consumer: Consumer,
    settings: LedgerSettings,
    *,
    clock: Clock,
    done: Callable[[], bool],
    truth: Truth,
    told: Told | None = None,
    spans: Writer | None = None,
) -> Collected:
    """Read until every frame sent is accounted for, or nothing has come for long enough and nothing is left."""
    collected = Collected(settings.run, split_seed=settings.split_seed)
    reading = _Reading(consumer, collected, clock=clock, truth=truth)
    if told is not None and told.on:
        reading.seen = Seen(collected, tiers=settings.tiers)
        told.by(reading.seen.readings)
    if spans is not None:
        reading.traces = Traces(collected, tiers=settings.tiers, out=spans)
    progress = Progress("ledger", clock=clock)
    quiet = Deadline(clock, within_s=settings.settle_s)
    while not done() and not collected.complete(settings.tiers):
        if reading.take() or not _over(collected, now_ns=clock.now_ns()):
            quiet = Deadline(clock, within_s=settings.settle_s)
        reading.catch_up()
        if quiet.passed():
            if not reading.behind():
                break
            quiet = Deadline(clock, within_s=settings.settle_s)
        answered = [len(collected.tiers[tier].first) for tier in settings.tiers]
        progress.tell(max(answered) if settings.split_seed is None else sum(answered))
    # What was rejected or came twice may be a moment behind the last result.
    reading.take()
    drained = Deadline(clock, within_s=DRAIN_S)
    while not drained.passed() and reading.behind():
        reading.take()
    if reading.traces is not None:
        reading.traces.end()
    return collected


def _over(collected: Collected, *, now_ns: int) -> bool:
    """Say whether nothing more is to be expected but what is under way."""
    if collected.fleets_closed():
        return True
    # A fleet that died writes no account: its schedule's end is then the end.
    ends_ns = [plan.end_ns() for plan in collected.plans.values()]
    return bool(ends_ns) and now_ns > max(ends_ns)


def run(settings: LedgerSettings) -> tuple[Summary, int]:
    """Account for a run; write the files; give the summary and the exit code: 4 if it is INVALID."""
    stop = Stop()
    _writable(settings.out)
    described = card_of(settings.model)
    truth = Truth(lambda split: dataset.load(split, say=say).labels)
    stop.holding = True
    with serving(settings.metrics, "ledger", name="ledger", run=settings.run) as (told, _):
        told.keeps(settings.out, holds="out")
        collected = collect(settings, clock=SystemClock(), done=lambda: stop.asked, truth=truth, told=told)
    frames = table.make(collected, tiers=settings.tiers, truth=truth)
    counted = summary.make(
        collected,
        frames,
        tiers=settings.tiers,
        limits=settings.limits,
        deadline_ms=settings.deadline_ms,
        card=described,
    )
    table.write(frames, settings.out / table.FILE)
    write(counted, settings.out)
    return counted, stop.exit_code or (0 if counted.verdict == "VALID" else 4)


def card_of(model: str) -> Card | None:
    """Give a model's card: which engines may stand for it. None if no model was named, or it has no card.

    Raises:
        ConfigError: there is no such model.
    """
    return card.known(model_file(model)).card if model else None


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
