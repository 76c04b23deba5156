"""What each micro-batch did: counted, timed, and its offsets told to Kafka's group."""

import json
import statistics
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from pyspark.sql.streaming.listener import (
    QueryIdleEvent,
    QueryProgressEvent,
    QueryStartedEvent,
    QueryTerminatedEvent,
    StreamingQueryListener,
)

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


class Batches(StreamingQueryListener):
    """Counts and times since it was made."""

    def __init__(self, topic: str, *, commit: Commit) -> None:
        self._topic, self._commit = topic, commit
        self._changed = threading.Lock()
        self.frames = 0
        """Read and written."""
        self.batches = 0
        self.lag: int | None = None
        """Frames in Kafka that the last batch did not reach; None before the first."""
        self._sizes: deque[int] = deque(maxlen=KEPT)
        self._times: deque[Mapping[str, int]] = deque(maxlen=KEPT)

    def onQueryStarted(self, event: QueryStartedEvent) -> None:  # noqa: N802, D102 - Spark's names
        pass

    def onQueryIdle(self, event: QueryIdleEvent) -> None:  # noqa: N802, D102
        pass

    def onQueryTerminated(self, event: QueryTerminatedEvent) -> None:  # noqa: N802, D102
        pass

    def onQueryProgress(self, event: QueryProgressEvent) -> None:  # noqa: N802
        """Take down a batch that is done: its results are in Kafka, its offsets in the checkpoint."""
        progress = event.progress
        source = progress.sources[0]
        following = offsets(source.endOffset, self._topic)
        with self._changed:
            if progress.numInputRows:
                self.frames += progress.numInputRows
                self.batches += 1
                self._sizes.append(progress.numInputRows)
                self._times.append(dict(progress.durationMs))
            if latest := offsets(source.latestOffset, self._topic):
                self.lag = sum(max(0, latest[one] - following.get(one, 0)) for one in latest)
        if following:
            self._commit(following)

    def summary(self) -> dict[str, Any]:
        """Give counts, and the median of each step of a batch in milliseconds."""
        with self._changed:
            times, sizes = list(self._times), list(self._sizes)
        steps = {
            ours: statistics.median(found) if (found := [one[theirs] for one in times if theirs in one]) else None
            for theirs, ours in STEPS.items()
        }
        return {
            "frames": self.frames,
            "batches": self.batches,
            "frames_per_batch": round(statistics.fmean(sizes), 1) if sizes else None,
            "micro_batch_ms": steps,
        }


def offsets(text: str | None, topic: str) -> dict[int, int]:
    """Read Spark's JSON of offsets: the next offset of each of a topic's partitions."""
    # PySpark makes a text of Java's null too: a batch that a crash cut off and that is done again has no latest offset.
    found = json.loads(text) if text and text != str(None) else {}
    return {int(partition): int(offset) for partition, offset in found.get(topic, {}).items()}
