"""Frames in: from Kafka, as micro-batches of Spark, with the offsets kept in a checkpoint."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from edgewise.arrival import BRIDGED_NS, Arrival, stamped_ns
from edgewise.clock import MILLISECOND_NS
from edgewise.topics import FRAMES

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

GROUP: Final = "cluster"
OLDEST: Final = -2
"""Spark's number for the oldest frame there is."""

Start = Literal["group", "earliest", "latest"]


@dataclass(frozen=True, slots=True)
class Reading:
    """How Kafka is read."""

    kafka: str
    partitions: Mapping[int, int | None]
    """Where to begin in each, without a checkpoint; None is the oldest frame."""
    batch_max: int
    """Frames in a micro-batch, at most."""
    tasks: int
    """That a micro-batch is divided into."""


def beginning(kafka: str, *, start: Start) -> dict[int, int | None]:
    """Find where a cluster without a checkpoint begins: for ``group``, where its group got to.

    Raises:
        UnreachableError: Kafka does not answer.
    """
    from edgewise import lag  # late: Python workers import this module too, and do not ask

    places = lag.of(kafka, GROUP, topic=FRAMES)
    if start == "latest":
        return {place.partition: place.end for place in places}
    return {place.partition: place.committed if start == "group" else None for place in places}


def stream(spark: "SparkSession", reading: Reading) -> "DataFrame":
    """Give the frames as they come, divided into tasks."""
    from edgewise.kafka import access  # late, as above

    first = {str(one): OLDEST if offset is None else offset for one, offset in reading.partitions.items()}
    source = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", reading.kafka)
        .option("subscribe", FRAMES)
        .option("startingOffsets", json.dumps({FRAMES: first}))
        .option("maxOffsetsPerTrigger", str(reading.batch_max))
        .option("includeHeaders", "true")
        # What Kafka has lost is an error here, and never a gap that nobody notices.
        .option("failOnDataLoss", "true")
        .option("kafkaConsumer.pollTimeoutMs", "15000")
        # Spark's reader asks for more than its batch, then throws that away to ask for the next one; but the answer
        # to the first comes first, and Kafka would keep it back for 500 ms, or until a frame comes.
        .option("kafka.fetch.max.wait.ms", "1")
        .option("kafka.request.timeout.ms", "10000")
        .option("kafka.default.api.timeout.ms", "15000")
        .option("fetchOffset.numRetries", "3")
        .options(**access.spark())
    )
    if reading.tasks > len(first):
        # More tasks than partitions: Spark cuts a partition's batch into ranges of offsets.
        return source.option("minPartitions", str(reading.tasks)).load()
    frames = source.load()
    return frames.coalesce(reading.tasks) if reading.tasks < len(first) else frames


def columns(frames: "DataFrame") -> "DataFrame":
    """Keep what ``arrivals`` reads: for Python workers, every byte costs its way there."""
    bridged = f"element_at(filter(headers, header -> header.key = '{BRIDGED_NS}'), -1).value"
    return frames.selectExpr(
        "key", "value", "partition", "offset", "unix_millis(timestamp) AS appended_ms", f"{bridged} AS bridged"
    )


def arrivals(batch: "pa.RecordBatch", *, now_ns: int) -> Sequence[Arrival]:
    """Take the frames of one Arrow batch."""
    names = ("key", "value", "partition", "offset", "appended_ms", "bridged")
    return [
        Arrival(
            camera=(key or b"").decode(errors="replace"),
            wire=value or b"",
            receipt=offset,
            received_ns=now_ns,
            origin=f"kafka {FRAMES}/{partition}@{offset}",
            bridged_ns=stamped_ns(bridged),
            appended_ns=appended_ms * MILLISECOND_NS,
        )
        for key, value, partition, offset, appended_ms, bridged in zip(
            *(batch.column(name).to_pylist() for name in names), strict=True
        )
    ]


def blank(spark: "SparkSession", *, tasks: int) -> "DataFrame":
    """Give one empty frame a task, with the columns of Kafka's."""
    return spark.range(tasks, numPartitions=tasks).selectExpr(
        "binary('warm-up') AS key",
        "binary('') AS value",
        "'' AS topic",
        "0 AS partition",
        "id AS offset",
        "timestamp_millis(0) AS timestamp",
        "CAST(NULL AS array<struct<key:string,value:binary>>) AS headers",
    )
