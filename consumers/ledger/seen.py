"""What a ledger has seen so far, for whoever scrapes it while the run goes on: the account is made at its end."""

from collections.abc import Iterator, Sequence

from consumers.ledger.collect import Collected
from consumers.ledger.summary import STAGES
from edgewise import metrics
from edgewise.messages import Tier
from edgewise.metrics import Histogram, Reading


class Seen:
    """Latencies and stages of both tiers, from the first result of each frame."""

    def __init__(self, collected: Collected, *, tiers: Sequence[Tier]) -> None:
        self._collected, self._tiers = collected, tiers
        self._folded = dict.fromkeys(Tier, 0)
        self._latency = {tier: Histogram(metrics.LATENCY_SECONDS) for tier in Tier}
        self._stages = {tier: {name: Histogram(metrics.RESULT_STAGE_SECONDS) for name, _, _ in STAGES} for tier in Tier}
        self.lag: int | None = None
        """Records in Kafka that were not read at the last look."""

    def fold(self) -> None:
        """Take in what has come since: a few at once cost a third of what each costs alone."""
        for tier in self._tiers:
            first, since = self._collected.tiers[tier].first, self._folded[tier]
            self._folded[tier] = len(first)
            moments = {name: first.numbers(name, since=since) for _, *ends in STAGES for name in ends}
            self._latency[tier].add((moments["seen_ns"] - moments["due_ns"]).tolist())
            for name, start, end in STAGES:
                self._stages[tier][name].add((moments[end] - moments[start]).tolist())

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now."""
        yield metrics.FRAMES_RECEIVED.of(len(self._collected.bridged))
        yield metrics.RECEIVED_BYTES.of(self._collected.bridged_bytes)
        for tier in self._tiers:
            yield metrics.RESULTS.of(len(self._collected.tiers[tier].first), tier)
            yield metrics.LATENCY_SECONDS.of(self._latency[tier], tier)
            for stage, histogram in self._stages[tier].items():
                yield metrics.RESULT_STAGE_SECONDS.of(histogram, tier, stage)
        if self.lag is not None:
            yield metrics.LAG_FRAMES.of(self.lag)
