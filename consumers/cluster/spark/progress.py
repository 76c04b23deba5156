"""What each micro-batch did: counted, timed, and its offsets told to Kafka's group."""

import json
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyspark.sql.streaming.query import StreamingQuery

KEPT: Final = 2000
"""Batches whose times are kept, the newest: memory stays bounded however long it runs."""
STEPS: Final = {
    "latestOffset": "latest_offset",
    "getBatch": "get_batch",
    "queryPlanning": "query_planning",
    "walCommit": "wal_commit",
    "addBatch": "add_batch",
    "commitOffsets": "commit_offsets",
    "triggerExecution": "whole",
}
"""Spark's names and ours, in the order of a batch."""

Commit = Callable[[Mapping[int, int]], None]
"""Told the next offset of each partition."""
Report = Mapping[str, Any]
"""What Spark says of one batch, as in its JSON."""


class Batches:
    """Counts and times since it was made.

    Spark is asked for its newest reports, now and then. Its listener would bring each at once, but
    a Python listener keeps the batch's plan alive in the JVM until Python next looks for garbage:
    megabytes after minutes.
    """

    def __init__(self, topic: str, *, commit: Commit, notice: Callable[[Report], None] = lambda _: None) -> None:
        """Begin; ``notice`` is told of each batch that had frames."""
        self._topic, self._commit, self._notice = topic, commit, notice
        self.frames = 0
        """Read, and written but for those left to others."""
        self.left_to_others: int | None = 0
        """Frames that are another tier's: read, and nothing written. None if Spark did not say what it wrote."""
        self.batches = 0
        self.lag: int | None = None
        """Frames in Kafka that the last batch did not reach; None before the first."""
        self._sizes: deque[int] = deque(maxlen=KEPT)
        self._times: deque[Mapping[str, int]] = deque(maxlen=KEPT)
        self._seen = ""

    def look(self, query: "StreamingQuery") -> None:
        """Take down the batches that a query has done since the last look."""
        kept = query._jsq.recentProgress()  # noqa: SLF001 - PySpark would copy them all
        self.take(kept[number].json() for number in reversed(range(len(kept))))

    def take(self, newest_first: Iterable[str]) -> None:
        """Take down Spark's reports, in JSON, back to the one that was the newest before."""
        unseen: list[str] = []
        for text in newest_first:
            if text == self._seen:
                break
            unseen.append(text)
        following: dict[int, int] = {}
        for text in reversed(unseen):
            following = self._done(json.loads(text)) or following
        if unseen:
            self._seen = unseen[0]
        if following:
            self._commit(following)

    def _done(self, report: Report) -> dict[int, int]:
        """Count one batch: its results are in Kafka, its offsets in the checkpoint. Give those offsets."""
        source = report["sources"][0]
        following, latest = self._offsets(source["endOffset"]), self._offsets(source["latestOffset"])
        if report["numInputRows"]:
            self.frames += report["numInputRows"]
            self._leave(report["numInputRows"], written=report.get("sink", {}).get("numOutputRows", -1))
            self.batches += 1
            self._sizes.append(report["numInputRows"])
            self._times.append(report["durationMs"])
            self._notice(report)
        if latest:
            self.lag = sum(max(0, latest[one] - following.get(one, 0)) for one in latest)
        return following

    def _leave(self, read: int, *, written: int) -> None:
        """Count the frames of a batch that were left: each other one has a row, its result or its rejection."""
        known = self.left_to_others is not None and written >= 0
        self.left_to_others = (self.left_to_others or 0) + read - written if known else None

    def _offsets(self, found: Mapping[str, Mapping[str, int]] | None) -> dict[int, int]:
        """Give the next offset of each partition; nothing of what a crash cut off has a latest one."""
        return {int(partition): offset for partition, offset in (found or {}).get(self._topic, {}).items()}

    def summary(self) -> dict[str, Any]:
        """Give counts, and the median of each step of a batch in milliseconds."""
        sizes = self._sizes
        steps = {
            ours: statistics.median(found) if (found := [one[theirs] for one in self._times if theirs in one]) else None
            for theirs, ours in STEPS.items()
        }
        return {
            "frames": self.frames,
            "left_to_others": self.left_to_others,
            "batches": self.batches,
            "frames_per_batch": round(statistics.fmean(sizes), 1) if sizes else None,
            "micro_batch_ms": steps,
        }
