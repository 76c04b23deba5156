"""Results out: rows for Kafka, to ``results`` and ``frames-rejected`` alike, and the query that stores them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from edgewise.arrival import Answer, Answerer, Arrival, Opened
from edgewise.errors import FrameError
from edgewise.messages import encode_result
from edgewise.rejects import rejection
from edgewise.topics import REJECTED, RESULTS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery

COLUMNS: Final = "topic string, key binary, value binary, headers array<struct<key:string,value:binary>>"
"""What Spark's Kafka sink takes; ``topic`` says where each row goes."""
NAME: Final = "edgewise"


class Rows:
    """Collects one record for each frame; ``batch`` gives them to Spark."""

    def __init__(self, *, by: Answerer) -> None:
        self._by = by
        self._topics: list[str] = []
        self._keys: list[bytes] = []
        self._values: list[bytes] = []
        self._headers: list[list[dict[str, object]] | None] = []

    def store(self, opened: Sequence[Opened], answers: Sequence[Answer]) -> None:
        """Add results."""
        for one, answer in zip(opened, answers, strict=True):
            result = one.result(answer, by=self._by)
            self._add(RESULTS, result.camera, encode_result(result), None)

    def reject(self, arrival: Arrival, *, error: FrameError) -> None:
        """Add a rejection."""
        key, kept, headers = rejection(arrival, error=error, by=self._by.tier)
        self._add(REJECTED, key, kept, [{"key": name, "value": value} for name, value in headers])

    def _add(self, topic: str, key: str, value: bytes, headers: list[dict[str, object]] | None) -> None:
        self._topics.append(topic)
        self._keys.append(key.encode())
        self._values.append(value)
        self._headers.append(headers)

    def batch(self) -> "pa.RecordBatch":
        """Give them as Arrow, in the order of COLUMNS."""
        import pyarrow as pa

        header = pa.struct([("key", pa.string()), ("value", pa.binary())])
        arrays = [
            pa.array(self._topics, pa.string()),
            pa.array(self._keys, pa.binary()),
            pa.array(self._values, pa.binary()),
            pa.array(self._headers, pa.list_(header)),
        ]
        return pa.RecordBatch.from_arrays(arrays, ["topic", "key", "value", "headers"])


def start(rows: "DataFrame", *, kafka: str, checkpoint: str, trigger_ms: int) -> "StreamingQuery":
    """Start the query: each micro-batch is stored in Kafka, then its offsets in the checkpoint."""
    from edgewise.kafka import access  # late: Python workers import this module too

    return (
        rows.writeStream.format("kafka")
        .queryName(NAME)
        .option("kafka.bootstrap.servers", kafka)
        .option("kafka.acks", "all")
        .option("kafka.delivery.timeout.ms", "15000")
        .option("kafka.request.timeout.ms", "10000")
        .option("kafka.max.block.ms", "15000")
        .options(**access.spark())
        .option("checkpointLocation", checkpoint)
        .trigger(processingTime=f"{trigger_ms} milliseconds")
        .start()
    )


def trouble(failure: Exception) -> str:
    """Give all that a query says of its end: its own words, then Java's, causes and all."""
    return f"{failure}\n{getattr(failure, 'stackTrace', '')}"
