"""Frames to classes: a stage of Spark, in the JVM for BigDL, in Python workers for the other engines.

A worker process loads its model once and keeps it for as long as it lives; Spark gives it
one task after another. One Arrow batch is one call of the engine.
"""

import functools
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from consumers.cluster import read, write
from consumers.cluster.jvm.compile import bigdl_jars, jar
from consumers.cluster.write import Rows
from edgewise import jars as spark_jars
from edgewise import split
from edgewise.arrival import Answerer, pictured, unsealed
from edgewise.clock import SystemClock
from edgewise.errors import FrameError, MissingError
from edgewise.messages import Tier
from models import card
from models import engine as engines
from models.engine import Engine
from models.exports import bigdl

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CHANNELS: Final = 3
"""Of every frame: red, green, blue."""
IN_THE_JVM: Final = ("bigdl", "none")
"""Engines that need no Python worker; ``none`` answers without looking, to measure all that is not the engine."""


@dataclass(frozen=True, slots=True)
class Work:
    """What each worker is to do."""

    engine: str
    model: str
    """A shipped model's name, or a file that is there on every worker."""
    threads: int
    """Of the engine, in each task."""
    tasks: int
    """That run at the same time."""
    predict_max: int
    """Images in one call of the engine."""
    split_seed: int | None = None
    """Of the rule by which each frame goes to one tier; None answers every frame."""


@functools.lru_cache(maxsize=1)
def loaded(engine: str, model: str, threads: int) -> Engine:
    """Load this worker's model, once."""
    return engines.load(engine, model=model, threads=threads)


def classify(batches: Iterator[pa.RecordBatch], *, work: Work) -> Iterator[pa.RecordBatch]:
    """Answer or reject every frame of a task that is the cluster's, in a Python worker."""
    engine, clock = loaded(work.engine, work.model, work.threads), SystemClock()
    worker = f"{socket.gethostname()}:{os.getppid()}/{os.getpid()}"  # the executor's daemon, and the worker
    by = Answerer(Tier.CLUSTER, engine.name, engine.identity, work.tasks, worker)
    for batch in batches:
        rows, good = Rows(by=by), []
        for arrival in read.arrivals(batch, now_ns=clock.now_ns()):
            try:
                frame = unsealed(arrival)
                if split.owns(Tier.CLUSTER, frame, seed=work.split_seed):
                    good.append(pictured(arrival, frame, shape=engine.shape))
            except FrameError as error:
                rows.reject(arrival, error=error)
        if good:
            rows.store(good, engines.answers(engine, good, clock=clock))
        yield rows.batch()


Stage = Callable[["DataFrame"], "DataFrame"]
"""Kafka's frames to Kafka's results, in either world."""


def in_python(work: Work) -> Stage:
    """Give the stage for engines that Python workers run."""
    function = functools.partial(classify, work=work)
    return lambda frames: read.columns(frames).mapInArrow(function, write.COLUMNS)


def in_jvm(spark: "SparkSession", work: Work) -> Stage:
    """Give the stage that runs inside the executors' JVM, and send the model there.

    Raises:
        MissingError: BigDL's native library cannot be loaded.
    """
    from pyspark.sql import DataFrame

    jars(work.engine)  # where there are none, the session was begun without them, for a fallback
    ours = spark._jvm.edgewise.cluster.ClassifyFrames  # type: ignore[union-attr]  # noqa: SLF001 - Spark's Java
    if work.engine == "bigdl" and (problem := ours.probe()):
        raise MissingError(
            f"BigDL's native library cannot be loaded here ({problem}); take another engine, "
            "for example --engine onnx, or let it choose: --fallback onnx"
        )
    model = bigdl.file(engines.model_file(work.model))
    spark.sparkContext.addFile(str(model))
    takes = bigdl.input_of(model)
    engines.refuse_other_images(
        engines.model_file(work.model), shape=(takes.height, takes.width, CHANNELS), classes=takes.classes
    )
    function = ours(
        work.engine,
        model.name,
        card.known(engines.model_file(work.model)).identity,
        takes.height,
        takes.width,
        takes.scale,
        takes.offset,
        work.tasks,
        work.predict_max,
        work.threads,
        None if work.split_seed is None else str(work.split_seed),
    )
    return lambda frames: DataFrame(ours.apply(frames._jdf, function), frames.sparkSession)  # noqa: SLF001


def stage(spark: "SparkSession", work: Work) -> Stage:
    """Give the stage of an engine."""
    return in_jvm(spark, work) if work.engine in IN_THE_JVM else in_python(work)


def loaded_stage(spark: "SparkSession", work: Work) -> Stage:
    """Give the stage of an engine after every worker has loaded its model.

    Raises:
        MissingError: the engine cannot be loaded on a worker.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PythonException

    made = stage(spark, work)
    try:
        warm_up(spark, made, tasks=work.tasks)
    except (Py4JJavaError, PythonException) as error:
        raise MissingError(
            f"the model could not be loaded on a worker with --engine {work.engine}: {last(error)}"
        ) from error
    return made


def last(error: Exception) -> str:
    """Pick from an error that came through Java and Python the line that says what it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by: ") or re.match(r"[\w.]*(Error|Exception): ", line)]
    return (causes or lines)[-1][:400]


def jars(engine: str) -> Sequence[Path]:
    """Give the jars that an engine needs besides Spark's own, compiling ours first if need be.

    Raises:
        MissingError: BigDL is not installed.
    """
    return [jar(), *bigdl_jars()] if engine in IN_THE_JVM else []


def prepare(engine: str, *, model: str) -> Sequence[Path]:
    """Do what the first start of an engine would do once: fetch, compile, convert. Give the files it left.

    Raises:
        ConfigError: no such engine or model.
        MissingError: something cannot be fetched or is not installed.
    """
    made = [spark_jars.fetch(spark_jars.SPARK), *jars(engine)]
    if engine in IN_THE_JVM:
        return [*made, bigdl.file(engines.model_file(model))]
    engines.load(engine, model=model, threads=1)
    return made


def warm_up(spark: "SparkSession", stage: Stage, *, tasks: int) -> None:
    """Have every worker load its model before the first frame: one empty frame each, whose rejection nobody keeps."""
    stage(read.blank(spark, tasks=tasks)).collect()
