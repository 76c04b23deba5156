"""Results out: to ``results``, and what is no frame to ``frames-rejected``, under one count of receipts."""

from collections.abc import Sequence

from consumers.gateway.model import Classified
from edgewise.arrival import Arrival
from edgewise.errors import FrameError
from edgewise.kafka import Producer
from edgewise.messages import Result, Tier, encode_result
from edgewise.rejects import reject
from edgewise.topics import RESULTS


class ResultWriter:
    """Stores one record for each frame; ``stored`` tells which are safe."""

    def __init__(self, producer: Producer, *, engine: str, model: str, tasks: int, worker: str) -> None:
        self._producer = producer
        self._engine, self._model, self._tasks, self._worker = engine, model, tasks, worker
        self.under_way = 0
        self.results = 0
        self.rejected = 0

    def store(self, answers: Sequence[Classified]) -> None:
        """Start to store results."""
        for answer in answers:
            result = self._result(answer)
            receipt = answer.opened.arrival.receipt
            self._producer.send(RESULTS, key=result.camera, value=encode_result(result), receipt=receipt)
        self.under_way += len(answers)
        self.results += len(answers)

    def reject(self, arrival: Arrival, *, error: FrameError) -> None:
        """Start to store a rejection."""
        reject(self._producer, arrival, error=error, by=Tier.GATEWAY)
        self.under_way += 1
        self.rejected += 1

    def stored(self, *, wait_s: float) -> Sequence[int]:
        """Give the receipts of what is safe since the last call; wait at most so long for the first."""
        receipts = self._producer.stored(wait_s=wait_s)
        self.under_way -= len(receipts)
        return receipts

    def _result(self, answer: Classified) -> Result:
        frame, arrival = answer.opened.frame, answer.opened.arrival
        return Result(
            run=frame.run,
            camera=frame.camera,
            number=frame.number,
            dataset=frame.dataset,
            split=frame.split,
            image=frame.image,
            tier=Tier.GATEWAY,
            engine=self._engine,
            model=self._model,
            label=answer.label,
            score=answer.score,
            due_ns=frame.due_ns,
            sent_ns=frame.sent_ns,
            bridged_ns=arrival.bridged_ns,
            appended_ns=arrival.appended_ns,
            received_ns=arrival.received_ns,
            started_ns=answer.started_ns,
            inferred_ns=answer.inferred_ns,
            size_bytes=len(arrival.wire),
            batch=answer.batch,
            tasks=self._tasks,
            worker=self._worker,
        )
