"""Frames in, results out, on the cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from consumers.cluster import model, read, write
from consumers.cluster.model import Stage, Work
from consumers.cluster.read import GROUP, Reading
from consumers.cluster.settings import ClusterSettings
from consumers.cluster.spark import session as sessions
from consumers.cluster.spark.checkpoint import Checkpoint, Origin, kafka_id, usual
from consumers.cluster.spark.observed import Observed
from consumers.cluster.spark.progress import Batches
from consumers.cluster.spark.session import Wanted
from edgewise import kafka, lag, metrics, topics
from edgewise.clock import SECOND_NS, Clock, Deadline, SystemClock
from edgewise.endpoint import Told, serving
from edgewise.errors import ConfigError, EdgewiseError, MissingError, UnreachableError
from edgewise.family import Family
from edgewise.kafka import access
from edgewise.meter import OFF, Meter
from edgewise.parts import CLOSE_S, Costs, Progress, Stop, close_account, open_account, say, warn
from edgewise.places import cache
from edgewise.soundings import sound
from edgewise.topics import FRAMES
from models import card
from models.engine import model_file

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

LOOK_AGAIN_S: Final = 0.1
RETRY_S: Final = 1.0
LOOK_S: Final = 2.0
"""How often to ask the system what all processes have used: that costs 10 ms."""
TRIES: Final = 5
"""Failures in a row, without a batch between them or Kafka away, that end a cluster."""
KEEP_WARM_S: Final = 40.0
"""Spark ends Python workers that were idle for 60 s, and their models with them."""
LOST: Final = ("some data may have", "data may have been lost", "are gone", "OffsetOutOfRange", "failOnDataLoss")
"""How Spark says that the next frames are no longer in Kafka."""
FORBIDDEN: Final = ("TopicAuthorizationException", "GroupAuthorizationException")
"""What Java's clients call a right that a user has not."""


class Cluster:
    """A Spark driver: one query from Kafka to Kafka, begun again when it fails for a reason that passes."""

    def __init__(
        self,
        settings: ClusterSettings,
        *,
        spark: "SparkSession",
        origin: Origin,
        clock: Clock,
        meter: Meter = OFF,
    ) -> None:
        self._settings, self._spark, self._origin, self._clock = settings, spark, origin, clock
        self.slots = sessions.slots(spark, clock=clock)
        self.tasks = settings.tasks or self.slots
        self.family = Family()
        self._group = lag.GroupOffsets(settings.kafka, GROUP, topic=FRAMES)
        self.observed = Observed(meter)
        self.batches = Batches(FRAMES, commit=self._commit, notice=self.observed.done)
        self._failures = 0
        self._warm = Deadline(clock, within_s=KEEP_WARM_S)
        self._look = Deadline(clock, within_s=0)
        self._work = Work(
            engine=settings.engine,
            model=settings.model,
            threads=settings.threads,
            tasks=min(self.tasks, self.slots),
            predict_max=settings.predict_max,
            split_seed=settings.split_seed,
        )
        self._stage = self._prepared()

    @property
    def engine(self) -> str:
        """What runs the model: what was asked for, or the fallback."""
        return self._work.engine

    def _prepared(self) -> Stage:
        """Load the model everywhere, before the first frame is taken; take the fallback if there is one and it must."""
        try:
            return model.loaded_stage(self._spark, self._work)
        except MissingError as error:
            if not self._settings.fallback:
                raise
            warn(f"cluster: {error}; falling back to {self._settings.fallback}")
            self._work = replace(self._work, engine=self._settings.fallback)
            return model.loaded_stage(self._spark, self._work)

    def _commit(self, following: Mapping[int, int]) -> None:
        """Tell Kafka's group how far the checkpoint is; the checkpoint decides, so a failure here is only said."""
        try:
            self._group.commit(following)
        except EdgewiseError as error:
            warn(f"cluster: {error}; the group {GROUP!r} shows too much lag until the next batch")

    def run(self, *, done: Callable[[], bool], ready: Callable[[], None]) -> dict[str, Any]:
        """Classify until ``done``; give the summary of the closing account."""
        progress = Progress("cluster", clock=self._clock)
        tell = self._teller(progress)
        while not done():
            try:
                query = self._start()
                ready()
            except UnreachableError:  # it went just now
                self._await_kafka(done=done)
                continue
            self._follow(query, done=done, tell=tell)
            if (failure := query.exception()) is not None and not done():
                self._judge(write.trouble(failure))
                self._await_kafka(done=done)
        return self.summary()

    def _teller(self, progress: Progress) -> Callable[[], None]:
        def tell() -> None:
            if self._look.passed():
                self.family.look()
                self._look = Deadline(self._clock, within_s=LOOK_S)
            progress.tell(self.batches.frames, batches=self.batches.batches, lag=self.batches.lag or 0)

        return tell

    def _start(self) -> "StreamingQuery":
        settings = self._settings
        reading = Reading(
            kafka=settings.kafka,
            partitions=read.beginning(settings.kafka, start=settings.start),
            batch_max=settings.batch_max,
            tasks=self.tasks,
        )
        rows = self.observed.rows(self._stage(self.observed.frames(read.stream(self._spark, reading))))
        checkpoint = settings.checkpoint
        return write.start(rows, kafka=settings.kafka, checkpoint=checkpoint, trigger_ms=settings.trigger_ms)

    def _follow(self, query: "StreamingQuery", *, done: Callable[[], bool], tell: Callable[[], None]) -> None:
        """Watch a query until it ends, or is asked to: then it may finish the batch it is at."""
        before = self.batches.batches
        while query.isActive and not done():
            Deadline(self._clock, within_s=LOOK_AGAIN_S).pause(for_s=LOOK_AGAIN_S)
            self.batches.look(query)
            tell()
            if self.batches.batches > before:
                before, self._failures = self.batches.batches, 0
                self._warm = Deadline(self._clock, within_s=KEEP_WARM_S)
            self._keep_warm()
        finished = Deadline(self._clock, within_s=CLOSE_S)
        while query.isActive and query.status["isTriggerActive"] and not finished.passed():
            finished.pause(for_s=LOOK_AGAIN_S / 10)
        query.stop()
        self.batches.look(query)

    def _keep_warm(self) -> None:
        """Give idle Python workers something to do, or Spark ends them and the next frame waits for new ones."""
        if self._warm.passed():
            if self._work.engine not in model.IN_THE_JVM:
                model.warm_up(self._spark, self._stage, tasks=self._work.tasks)
            self._warm = Deadline(self._clock, within_s=KEEP_WARM_S)

    def _judge(self, failure: str) -> None:
        """Say what passes; raise what does not.

        Raises:
            ConfigError: the next frames are gone from Kafka.
            RefusedError: Kafka's ACLs do not let us.
            MissingError: it failed several times without a batch between.
        """
        causes = [line.strip() for line in failure.splitlines() if line.startswith("Caused by: ")]
        reason = causes[-1].removeprefix("Caused by: ") if causes else failure.partition("\n")[0]
        if any(words in failure for words in LOST):
            raise ConfigError(
                f"the frames that come next by --checkpoint {self._settings.checkpoint} are no longer in Kafka "
                f"(retention, or the topic was made anew): {reason[:300]}; "
                "begin again with another --checkpoint and --start earliest"
            )
        if any(words in failure for words in FORBIDDEN):
            raise access.forbidden(self._settings.kafka, reason[:300])
        self._failures += 1
        if self._failures >= TRIES:
            raise MissingError(f"Spark's query failed {TRIES} times in a row: {reason[:500]}")
        warn(f"cluster: {reason[:300]}; starting over from the checkpoint")

    def _await_kafka(self, *, done: Callable[[], bool]) -> None:
        settings = self._settings
        Deadline(self._clock, within_s=RETRY_S).pause(for_s=RETRY_S)
        origin, was_away = await_kafka(settings, clock=self._clock, done=done)
        if was_away:
            self._failures = 0
        if origin is not None and origin != self._origin:
            raise ConfigError(
                f"Kafka at {settings.kafka} is another one than before ({origin.kafka_id} instead of "
                f"{self._origin.kafka_id}); start the cluster again, with another --checkpoint if you named one"
            )

    def readings(self) -> Iterator[metrics.Reading]:
        """Give what there is to scrape now."""
        yield from self.observed.readings()
        if self.batches.left_to_others is not None:
            yield metrics.LEFT_TO_OTHERS.of(self.batches.left_to_others)

    def summary(self) -> dict[str, Any]:
        """Give what the closing account says of Spark."""
        return {
            **self.batches.summary(),
            "master": self._settings.master,
            "tasks": self._work.tasks,
            "cores": self.slots,
            "trigger_ms": self._settings.trigger_ms,
            "batch_max": self._settings.batch_max,
        }


def await_kafka(settings: ClusterSettings, *, clock: Clock, done: Callable[[], bool]) -> tuple[Origin | None, bool]:
    """Wait for Kafka and its topics; say too whether it was away. None if somebody asked to stop meanwhile."""
    was_away = False
    while not done():
        try:
            topics.ensure(settings.kafka, partitions=settings.partitions)
            return Origin(FRAMES, kafka_id(settings.kafka)), was_away
        except UnreachableError as error:
            if not was_away:
                warn(f"cluster: {error}; waiting for it")
            was_away = True
            Deadline(clock, within_s=RETRY_S).pause(for_s=RETRY_S)
    return None, was_away


class Account:
    """A cluster's entries on the topic ``runs``: that it reads, and what it came to."""

    def __init__(self, settings: ClusterSettings, *, clock: Clock) -> None:
        self._settings, self._clock, self._began_ns = settings, clock, clock.ticks_ns()
        self._facts: dict[str, Any] = {}

    def open(self, engine: str) -> None:
        """Say once that frames are read from now on, and how long that took."""
        if self._facts:
            return
        settings = self._settings
        self._facts = {
            "engine": engine,
            "model": card.known(model_file(settings.model)).identity,
            "startup_s": round((self._clock.ticks_ns() - self._began_ns) / SECOND_NS, 1),
        }
        producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        sound(producer, part="cluster", name=GROUP, run=settings.run, clock=self._clock)
        open_account(producer, part="cluster", name=GROUP, run=settings.run, facts=self._facts, clock=self._clock)
        say(
            f"cluster: ready after {self._facts['startup_s']} s; classifying from {settings.kafka} "
            f"with {engine}, checkpoint {settings.checkpoint}"
        )

    def close(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """Write the closing account; give it."""
        settings = self._settings
        producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        whole = {**self._facts, **summary}
        sound(producer, part="cluster", name=GROUP, run=settings.run, clock=self._clock)
        return close_account(producer, part="cluster", name=GROUP, run=settings.run, summary=whole)


def run(settings: ClusterSettings) -> tuple[dict[str, Any], int]:
    """Run a cluster's driver until Ctrl-C or SIGTERM; give its account and exit code."""
    stop = Stop()
    sessions.refuse_wrong_spark()
    card.known(model_file(settings.model))  # a model that is not there is said before anything is started
    with serving(settings.metrics, "cluster", name=GROUP, run=settings.run) as (told, meter):
        return _run(settings, stop, clock=SystemClock(), told=told, meter=meter), stop.exit_code


def _run(settings: ClusterSettings, stop: Stop, *, clock: Clock, told: Told, meter: Meter) -> dict[str, Any]:
    origin, _ = await_kafka(settings, clock=clock, done=lambda: stop.asked)
    if origin is None:
        return {}
    named = settings.checkpoint or str(usual(origin, run=settings.run))
    settings = settings.model_copy(update={"checkpoint": named})
    checkpoint = Checkpoint(named)
    checkpoint.claim(origin)
    account = Account(settings, clock=clock)
    say(f"cluster: starting Spark ({settings.master}) ...")
    with sessions.session(_wanted(settings, checkpoint)) as spark:
        checkpoint.claim(origin, jvm=spark._jvm)  # noqa: SLF001 - Spark's Java has no public name
        say("cluster: loading the model ...")
        cluster = Cluster(settings, spark=spark, origin=origin, clock=clock, meter=meter)
        told.runs(engine=cluster.engine, model=card.known(model_file(settings.model)).identity)
        told.by(cluster.readings)
        told.watches(lag.told(settings.kafka, GROUP))
        if checkpoint.folder is not None:
            told.keeps(checkpoint.folder, holds="checkpoint")
        stop.holding = True
        costs = Costs(cluster.family.spent)
        summary = cluster.run(done=lambda: stop.asked, ready=lambda: account.open(cluster.engine))
        if sessions.is_local(settings.master):  # now, while its processes are there to be asked
            summary |= costs.so_far()
        else:
            summary |= {"cpu_s": None, "memory_bytes": None}
    return account.close(summary)


def _wanted(settings: ClusterSettings, checkpoint: Checkpoint) -> Wanted:
    for one in settings.conf:
        if "=" not in one:
            raise ConfigError(f"--conf {one!r} is not name=value")
    folder = checkpoint.folder or cache()
    return Wanted(
        master=settings.master,
        name=f"edgewise cluster {settings.run}".strip(),
        log=None if settings.verbose else settings.log or folder / "spark.log",
        verbose=settings.verbose,
        bare_files=checkpoint.folder is not None,
        driver_memory=settings.driver_memory,
        executor_memory=settings.executor_memory,
        executor_cores=settings.executor_cores,
        cores=settings.cores,
        jars=_jars(settings),
        settings={
            "spark.sql.execution.arrow.maxRecordsPerBatch": str(settings.predict_max),
            **dict(one.split("=", 1) for one in settings.conf),
        },
    )


def _jars(settings: ClusterSettings) -> Sequence[Path]:
    """Give the engine's jars; none where it has none and there is a fallback, which ``Cluster`` then takes."""
    try:
        return model.jars(settings.engine)
    except MissingError:
        if not settings.fallback:
            raise
        return []


def prepare(settings: ClusterSettings) -> None:
    """Do once what the first start would do: for an image, or a machine that will have no network."""
    for path in model.prepare(settings.engine, model=settings.model):
        say(f"cluster: ready: {path}")
