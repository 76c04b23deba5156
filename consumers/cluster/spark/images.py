"""Images in memory through the cluster's stage, as a Spark job: no Kafka, and nothing that streams.

The rows are those that Kafka would give and the stage is the stream's own, so that what is
found here, a label or a rate, is found of the code that a stream runs.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from consumers.cluster.model import IN_THE_JVM, Stage, Work, jars, loaded_stage
from consumers.cluster.spark import session as sessions
from consumers.cluster.spark.session import Wanted
from edgewise.clock import SystemClock
from edgewise.errors import ConfigError, MissingError
from edgewise.messages import Codec, Frame, decode_result, encode_frame
from edgewise.places import cache
from edgewise.topics import FRAMES, REJECTED, RESULTS
from models import card
from models import engine as engines
from models.engine import Labels, Scores

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CAMERA: Final = "images"
ENGINES: Final[Sequence[str]] = (*IN_THE_JVM, *engines.NAMES)


@dataclass(frozen=True, slots=True)
class Job:
    """How images are put through a cluster."""

    engine: str
    """One of ENGINES."""
    model: str = "resnet20"
    """A shipped model's name, or a file that is there on every worker."""
    threads: int = 1
    """Of the engine in each task; the tasks are what uses the cores."""
    tasks: int = 0
    """That the images are divided into; 0 is one for each core that the master gives."""
    predict_max: int = 64
    """Images in one call of the engine, at most."""
    master: str = ""
    """Spark's; empty is local with all cores."""
    memory: str = "2g"
    """Of each executor, and of the driver, as Spark writes it: the images are kept there."""


class Held:
    """Images that the executors hold in memory, and the stage that they go through."""

    def __init__(self, images: NDArray[np.uint8], stage: Stage, *, spark: "SparkSession", job: Job, tasks: int) -> None:
        self._stage, self._spark, self._job = stage, spark, job
        kept = rows(spark, images, tasks=tasks)
        _fill(spark, kept, memory=job.memory)
        self._answers, self._images = stage(kept), len(images)
        self.tasks = tasks
        """That work at the same time."""
        self.identity = ""
        """Of the model as the engine runs it, name@12 hex digits: told by the first answers."""

    def beside(self, images: NDArray[np.uint8]) -> "Held":
        """Have the same executors hold other images too, for the same stage.

        Raises:
            ConfigError: they do not fit into the executors' memory.
        """
        return Held(images, self._stage, spark=self._spark, job=self._job, tasks=self.tasks)

    def classified(self) -> tuple[Labels, Scores]:
        """Put all images through once and bring the answers here, in the images' order.

        Raises:
            ConfigError: the stage has refused some.
        """
        labels, scores = np.full(self._images, -1, dtype=np.int64), np.zeros(self._images, dtype=np.float32)
        for topic, value, headers in self._answers.select("topic", "value", "headers").collect():
            if topic == REJECTED:
                said = {header.key: bytes(header.value).decode() for header in headers}
                raise ConfigError(f"the cluster refused an image from memory: {said['reason']}")
            result = decode_result(bytes(value))
            labels[result.image], scores[result.image] = result.label, result.score
            self.identity = result.model
        self._refuse_gaps(int((labels >= 0).sum()))
        return labels, scores

    def passed(self) -> None:
        """Put all images through once, and have the answers counted and forgotten where they are made."""
        self._refuse_gaps(self._answers.where(f"topic = '{RESULTS}'").count())

    def _refuse_gaps(self, answered: int) -> None:
        if answered != self._images:
            raise MissingError(f"the cluster has answered {answered:,} of {self._images:,} images")


def classified(
    images: NDArray[np.uint8], *, engine: str, model: str, threads: int = 1, tasks: int = 0
) -> tuple[Labels, Scores]:
    """Classify N x height x width x 3 images in a Spark session of their own; give the answers in their order.

    Raises:
        ConfigError, MissingError, UnreachableError: see held.
    """
    with held(images, Job(engine, model, threads=threads, tasks=tasks)) as one:
        return one.classified()


@contextmanager
def held(images: NDArray[np.uint8], job: Job) -> Iterator[Held]:
    """Start a Spark session whose executors hold the images and have loaded the model; end it afterwards.

    Raises:
        ConfigError: no such engine, model or master, or the images do not fit into the executors' memory.
        MissingError: Java, Spark, or what the engine needs is not there.
        UnreachableError: the master does not answer.
    """
    if job.engine not in ENGINES:
        raise ConfigError(f"--engine {job.engine!r} is not known to the cluster; there is: {', '.join(ENGINES)}")
    card.known(engines.model_file(job.model))  # what is not there is said before anything is started
    sessions.refuse_wrong_spark()
    with sessions.session(_wanted(job)) as spark:
        slots = sessions.slots(spark, clock=SystemClock())
        tasks = min(job.tasks or slots, slots)
        work = Work(job.engine, job.model, threads=job.threads, tasks=tasks, predict_max=job.predict_max)
        yield Held(images, loaded_stage(spark, work), spark=spark, job=job, tasks=tasks)


def _wanted(job: Job) -> Wanted:
    return Wanted(
        master=job.master or f"local[{engines.cores()}]",
        name="edgewise images",
        log=cache() / "spark.log",
        driver_memory=job.memory,
        executor_memory=job.memory,
        jars=jars(job.engine),
        settings={"spark.sql.execution.arrow.maxRecordsPerBatch": str(job.predict_max)},
    )


def rows(spark: "SparkSession", images: NDArray[np.uint8], *, tasks: int) -> "DataFrame":
    """Give images as Kafka's rows, divided into tasks; an image's place among them is its offset and its number."""
    wires = [(number, wire(image, number=number)) for number, image in enumerate(images)]
    numbered = spark.createDataFrame(
        spark.sparkContext.parallelize(wires, tasks), "offset long, value binary", verifySchema=False
    )
    return numbered.selectExpr(
        f"binary('{CAMERA}') AS key",
        "value",
        f"'{FRAMES}' AS topic",
        "0 AS partition",
        "offset",
        "timestamp_millis(0) AS timestamp",
        "CAST(NULL AS array<struct<key:string,value:binary>>) AS headers",
    )


def wire(image: NDArray[np.uint8], *, number: int) -> bytes:
    """Write one image as a raw frame that belongs to no run."""
    height, width, _ = image.shape
    frame = Frame(
        run="",
        camera=CAMERA,
        number=number,
        dataset="",
        split="",
        image=number,
        width=width,
        height=height,
        codec=Codec.RAW,
        due_ns=0,
        sent_ns=0,
        payload=image.tobytes(),
    )
    return encode_frame(frame)


def _fill(spark: "SparkSession", kept: "DataFrame", *, memory: str) -> None:
    """Have the executors hold the rows; raise ConfigError if they cannot hold all: each pass would make them again."""
    from py4j.protocol import Py4JError
    from pyspark import StorageLevel

    problem = ConfigError(f"the images do not fit into Spark's memory of {memory}; give it more: --memory 4g")
    try:
        kept.persist(StorageLevel.MEMORY_ONLY).count()
        stored = spark.sparkContext._jsc.sc().getRDDStorageInfo()  # noqa: SLF001 - not in Python's interface
        missing = sum(one.numPartitions() - one.numCachedPartitions() for one in stored)
    except Py4JError as error:  # Java itself had too little
        raise problem from error
    if missing:
        raise problem
