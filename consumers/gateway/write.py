"""Results out: to ``results``, and what is no frame to ``frames-rejected``, under one count of receipts."""

from collections.abc import Sequence

from consumers.gateway.model import Classified
from edgewise.arrival import Answerer, Arrival
from edgewise.errors import FrameError
from edgewise.kafka import Producer
from edgewise.messages import encode_result
from edgewise.rejects import reject
from edgewise.topics import RESULTS


class ResultWriter:
    """Stores one record for each frame; ``stored`` tells which are safe."""

    def __init__(self, producer: Producer, *, by: Answerer) -> None:
        self._producer, self._by = producer, by
        self.under_way = 0
        self.results = 0
        self.rejected = 0

    def store(self, answers: Sequence[Classified]) -> None:
        """Start to store results."""
        for classified in answers:
            result = classified.opened.result(classified.answer, by=self._by)
            receipt = classified.opened.arrival.receipt
            self._producer.send(RESULTS, key=result.camera, value=encode_result(result), receipt=receipt)
        self.under_way += len(answers)
        self.results += len(answers)

    def reject(self, arrival: Arrival, *, error: FrameError) -> None:
        """Start to store a rejection."""
        reject(self._producer, arrival, error=error, by=self._by.tier)
        self.under_way += 1
        self.rejected += 1

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """Give the receipts of what is safe since the last call; wait at most so long for the first."""
        receipts = self._producer.stored(wait_s=wait_s)
        self.under_way -= len(receipts)
        return receipts
