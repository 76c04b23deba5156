"""What a scraped cluster lets Spark count beside its work: bytes, results and rejections of each micro-batch.

Spark's own reports have neither. The counts are sums in the plan that come with the report of
the finished batch, so that what failed and was done again counts once; a cluster that is not
scraped has a plan without them.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from consumers.cluster.spark.progress import STEPS, Report
from edgewise import metrics
from edgewise.clock import MILLISECOND_NS
from edgewise.messages import Rule, Tier
from edgewise.meter import Meter
from edgewise.metrics import Histogram, Reading
from edgewise.topics import REJECTED, RESULTS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TAKEN: Final = "taken"
WRITTEN: Final = "written"
"""What the sums are called in Spark's reports."""
RULE: Final = "string(element_at(filter(headers, header -> header.key = 'rule'), 1).value)"


class Observed:
    """Sums over all micro-batches, and how long their steps took."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self._steps = {ours: Histogram(metrics.MICRO_BATCH_SECONDS) for ours in STEPS.values()}

    def frames(self, frames: "DataFrame") -> "DataFrame":
        """Have what is read from Kafka counted."""
        from pyspark.sql.functions import expr

        return frames.observe(TAKEN, expr("sum(length(value)) AS bytes")) if self.meter.on else frames

    def rows(self, rows: "DataFrame") -> "DataFrame":
        """Have what goes to Kafka counted."""
        from pyspark.sql.functions import expr

        if not self.meter.on:
            return rows
        counts = [
            f"count_if(topic = '{RESULTS}') AS results",
            f"sum(if(topic = '{RESULTS}', length(value), 0)) AS bytes",
            *(f"count_if(topic = '{REJECTED}' AND {RULE} = '{rule.value}') AS `{rule.value}`" for rule in Rule),
        ]
        return rows.observe(WRITTEN, *(expr(one) for one in counts))

    def done(self, report: Report) -> None:
        """Take down a finished batch."""
        meter = self.meter
        if not meter.on:
            return
        taken, written = (_sums(report, name) for name in (TAKEN, WRITTEN))
        meter.received += report["numInputRows"]
        meter.received_bytes += taken.get("bytes") or 0
        meter.sent += written.get("results") or 0
        meter.sent_bytes += written.get("bytes") or 0
        for rule in Rule:
            meter.rejected[rule.value] += written.get(rule.value) or 0
        meter.batches.repeat(report["numInputRows"])
        for theirs, ours in STEPS.items():
            if theirs in report["durationMs"]:
                self._steps[ours].repeat(report["durationMs"][theirs] * MILLISECOND_NS)

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now."""
        yield from self.meter.taken_in()
        yield metrics.RESULTS.of(self.meter.sent, Tier.CLUSTER)
        for step, histogram in self._steps.items():
            yield metrics.MICRO_BATCH_SECONDS.of(histogram, step)


def _sums(report: Report, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = report.get("observedMetrics", {}).get(name, {})
    return found
