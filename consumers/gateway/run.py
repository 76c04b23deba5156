"""Frames in, results out, on the gateway."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from consumers.gateway.model import Classifier
from consumers.gateway.read import GROUP, KafkaSource, Source
from consumers.gateway.settings import GatewaySettings
from consumers.gateway.write import ResultWriter
from edgewise import kafka, lag, metrics, split, topics
from edgewise.arrival import Answerer, Arrival, pictured, unsealed
from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.endpoint import serving
from edgewise.errors import FrameError, UnreachableError
from edgewise.messages import Tier
from edgewise.meter import OFF, Meter
from edgewise.metrics import Reading
from edgewise.mqtt.inbox import MqttInbox, Subscription
from edgewise.parts import CLOSE_S, Costs, Progress, Stop, close_account, say, warn
from edgewise.soundings import sound
from models import engine as engines
from models.engine import Engine

BUSY_WAIT_S: Final = 0.002
"""How long to listen for frames while the model or Kafka owes an answer."""
IDLE_WAIT_S: Final = 0.2
RETRY_S: Final = 0.5


class Gateway:
    """A source, a model in its thread, and a writer, turned by one loop."""

    def __init__(
        self, settings: GatewaySettings, *, clock: Clock, engine: Engine | None = None, meter: Meter = OFF
    ) -> None:
        self._settings, self._clock, self._meter = settings, clock, meter
        self.engine = engine or engines.load(settings.engine, model=settings.model, threads=settings.threads)
        self.finished = 0
        """Frames whose result or rejection is safe in Kafka."""
        self.left_to_others = 0
        """Frames that are another tier's, given back unanswered."""
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self.results_before = self.rejected_before = 0
        self._connect()
        self._sound()

    def _sound(self) -> None:
        """Compare the clock with Kafka's, before the first frame and after the last."""
        settings = self._settings
        sound(self._producer, part="gateway", name=settings.client_id, run=settings.run, clock=self._clock)

    def _connect(self) -> None:
        settings = self._settings
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self._source = self._open_source()
        self._model = Classifier(
            self.engine,
            batch_max=settings.batch_max,
            batch_wait_s=settings.batch_wait_ms / 1000,
            clock=self._clock,
            meter=self._meter,
        )
        self._results = ResultWriter(
            self._producer,
            by=Answerer(
                tier=Tier.GATEWAY,
                engine=self.engine.name,
                model=self.engine.identity,
                tasks=1,
                worker=f"{settings.client_id}@{socket.gethostname()}:{os.getpid()}",
            ),
            clock=self._clock,
            meter=self._meter,
        )

    def _open_source(self) -> Source:
        settings = self._settings
        if settings.source == "kafka":
            consumer = kafka.consumer(settings.kafka, topics=[topics.FRAMES], group=GROUP, client=settings.kafka_client)
            return KafkaSource(consumer, clock=self._clock)
        subscription = Subscription(part="gateway", client_id=settings.client_id, window=settings.window)
        return MqttInbox(settings.mqtt, subscription=subscription, clock=self._clock, say=say, warn=warn)

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now."""
        yield from self._meter.taken_in()
        yield from self._meter.stages("source", "transport", "queue", "inference", "store")
        yield metrics.RESULTS.of(self._meter.sent, Tier.GATEWAY)
        yield metrics.ENGINE_SECONDS.of(self._meter.engine)
        yield metrics.LEFT_TO_OTHERS.of(self.left_to_others)
        yield metrics.UNACKNOWLEDGED_FRAMES.of(self._held())
        yield metrics.WINDOW_FRAMES.of(self._settings.window)
        yield metrics.QUEUE_FRAMES.of(self._model.under_way)
        if isinstance(self._source, MqttInbox):
            yield metrics.RECONNECTS.of(self._source.reconnects)

    def run(self, *, done: Callable[[], bool]) -> dict[str, Any]:
        """Classify until ``done``; finish what is under way; give the closing account."""
        progress, costs = Progress("gateway", clock=self._clock), Costs()
        while not done():
            try:
                self._turn()
            except UnreachableError as error:
                warn(f"gateway: {error}; starting over from what the source still holds")
                self._start_over(done=done)
            progress.tell(
                self.results_before + self._results.results,
                rejected=self.rejected_before + self._results.rejected,
                under_way=self._held(),
            )
        return self._close(costs)

    def _held(self) -> int:
        return self._model.under_way + self._results.under_way

    def _turn(self, *, take: bool = True) -> None:
        """Move everything one step on."""
        held = self._held()
        room = self._settings.window - held
        taking = take and room > 0
        left: list[int] = []
        if taking:
            arrivals = self._source.take(limit=room, wait_s=BUSY_WAIT_S if held else IDLE_WAIT_S)
            self._meter.took(arrivals)
            left = [arrival.receipt for arrival in arrivals if not self._kept(arrival)]
        self._results.store(self._model.answers())
        if not taking:
            self._source.stay()
        receipts = self._results.stored(wait_s=0 if taking else BUSY_WAIT_S)  # 1. The results are safe ...
        self._source.finish([*receipts, *left])  # 2. ... so the frames are finished.
        self.finished += len(receipts)
        self.left_to_others += len(left)

    def _kept(self, arrival: Arrival) -> bool:
        """Have a frame classified, or rejected; give False for one that is another tier's."""
        try:
            frame = unsealed(arrival)
            if not split.owns(Tier.GATEWAY, frame, seed=self._settings.split_seed):
                return False
            self._model.submit(pictured(arrival, frame, shape=self.engine.shape))
        except FrameError as error:
            self._results.reject(arrival, error=error)
        return True

    def _start_over(self, *, done: Callable[[], bool]) -> None:
        """Open everything anew: the source gives again what was not finished."""
        self._model.close()
        self._producer.abandon()
        self._meter.forget()
        with suppress(UnreachableError):
            self._source.close(end_session=False)
        self.results_before += self._results.results
        self.rejected_before += self._results.rejected
        self._results.results = self._results.rejected = 0
        while not done():
            Deadline(self._clock, within_s=RETRY_S).pause(for_s=RETRY_S)
            with suppress(UnreachableError):
                # The topics too: a Kafka that came back empty has none.
                topics.ensure(self._settings.kafka, partitions=self._settings.partitions)
                self._connect()
                return

    def _close(self, costs: Costs) -> dict[str, Any]:
        deadline = Deadline(self._clock, within_s=CLOSE_S)
        while self._held() and not deadline.passed():
            self._turn(take=False)
        self._model.close()
        settings = self._settings
        self._source.close(end_session=settings.end_session)
        self._sound()
        summary = {
            "results": self.results_before + self._results.results,
            "rejected": self.rejected_before + self._results.rejected,
            "left_to_others": self.left_to_others,
            "engine": self.engine.name,
            "model": self.engine.identity,
            "source": settings.source,
            "batch_max": settings.batch_max,
            "kafka_client": kafka.settled(settings.kafka_client).value,
            **costs.so_far(),
        }
        return close_account(self._producer, part="gateway", name=settings.client_id, run=settings.run, summary=summary)


def run(settings: GatewaySettings) -> tuple[dict[str, Any], int]:
    """Run a gateway until Ctrl-C or SIGTERM; give its account and exit code."""
    stop = Stop()
    with serving(settings.metrics, "gateway", name=settings.client_id, run=settings.run) as (told, meter):
        say("gateway: loading the model ...")
        gateway = Gateway(settings, clock=SystemClock(), meter=meter)
        told.runs(engine=gateway.engine.name, model=gateway.engine.identity)
        told.by(gateway.readings)
        if settings.source == "kafka":
            told.watches(lag.told(settings.kafka, GROUP))
        stop.holding = True
        say(f"gateway: classifying from {settings.source}, results to {settings.kafka}")
        return gateway.run(done=lambda: stop.asked), stop.exit_code
