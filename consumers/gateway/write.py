"""Results out: to ``results``, and what is no frame to ``frames-rejected``, under one count of receipts."""

from collections.abc import Sequence

from consumers.gateway.model import Classified
from edgewise.arrival import Answerer, Arrival
from edgewise.clock import Clock
from edgewise.errors import FrameError
from edgewise.kafka import Producer
from edgewise.messages import encode_result
from edgewise.meter import OFF, Meter
from edgewise.rejects import reject
from edgewise.soundings import unsounded
from edgewise.topics import RESULTS


class ResultWriter:
    """Stores one record for each frame; ``stored`` tells which are safe."""

    def __init__(self, producer: Producer, *, by: Answerer, clock: Clock, meter: Meter = OFF) -> None:
        self._producer, self._by, self._clock, self._meter = producer, by, clock, meter
        self.under_way = 0
        self.results = 0
        self.rejected = 0

    def store(self, answers: Sequence[Classified]) -> None:
        """Start to store results."""
        size_bytes = 0
        for classified in answers:
            result = classified.opened.result(classified.answer, by=self._by)
            receipt = classified.opened.arrival.receipt
            wire = encode_result(result)
            self._producer.send(RESULTS, key=result.camera, value=wire, receipt=receipt)
            size_bytes += len(wire)
        since_ns = [(one.opened.arrival.receipt, one.answer.inferred_ns) for one in answers]
        self._meter.wrote(since_ns, size_bytes=size_bytes)
        self.under_way += len(answers)
        self.results += len(answers)

    def reject(self, arrival: Arrival, *, error: FrameError) -> None:
        """Start to store a rejection."""
        reject(self._producer, arrival, error=error, by=self._by.tier)
        self.under_way += 1
        self.rejected += 1
        self._meter.refused(error.rule)

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """Give the receipts of what is safe since the last call; wait at most so long for the first."""
        receipts = unsounded(self._producer.stored(wait_s=wait_s))
        self._meter.stored(receipts, now_ns=self._clock.now_ns())
        self.under_way -= len(receipts)
        return receipts
