"""The bridge as a process: carry until asked to stop, whatever the brokers do meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from brokers.bridge.carry import carry
from brokers.bridge.outbox import KafkaOutbox
from edgewise import kafka, metrics, topics
from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.endpoint import NOWHERE, Place, serving
from edgewise.errors import UnreachableError
from edgewise.kafka import Client
from edgewise.meter import OFF, Meter
from edgewise.metrics import Reading
from edgewise.mqtt.inbox import MqttInbox, Subscription
from edgewise.names import Name
from edgewise.parts import CLOSE_S, Costs, Progress, Stop, close_account, say, warn
from edgewise.soundings import sound

BUSY_WAIT_S: Final = 0.002
"""How long to listen to MQTT while Kafka owes an answer."""
IDLE_WAIT_S: Final = 0.2
RETRY_S: Final = 0.5
QUIET_S: Final = 3.0
"""A broker that has sent nothing for so long has nothing left for a session that is unsubscribed."""


class BridgeSettings(BaseModel):
    """What a bridge is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mqtt: str
    """MQTT broker, host:port."""
    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    client_id: str = "bridge"
    """MQTT client id: the session, and the frames queued in it, belong to this name."""
    share: bool = False
    """Share the frames with other bridges; order across bridges is not promised."""
    names: Path | None = None
    """Folder by which bridges beside one another take different client ids: client_id-1, client_id-2, ..."""
    window: int = Field(default=1000, ge=1, le=65_535)
    """Frames in flight: taken from MQTT, not yet acknowledged."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    end_session: bool = False
    """At the end, carry what is queued and have the broker keep nothing more for this client id."""
    run: str = ""
    """The run that the closing account belongs to."""
    metrics: Place = NOWHERE
    """Where a Prometheus may scrape it."""


class Bridge:
    """One MQTT session on one side, one producer on the other."""

    def __init__(self, settings: BridgeSettings, *, clock: Clock, meter: Meter = OFF) -> None:
        self._settings, self._clock, self._meter = settings, clock, meter
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self._outbox = KafkaOutbox(self._producer, clock=clock, meter=meter)
        share = "bridge" if settings.share else None
        # Last, right before it subscribes: the others take whoever has a name for one that carries.
        self._name = Name(settings.names, stem=settings.client_id) if settings.names else None
        self.client_id = str(self._name or settings.client_id)
        subscription = Subscription(part="bridge", client_id=self.client_id, share=share, window=settings.window)
        self._inbox = MqttInbox(settings.mqtt, subscription=subscription, clock=clock, say=say, warn=warn)
        self.frames = 0
        self._rejected_before = 0
        self._sound()

    def _sound(self) -> None:
        """Compare the clock with Kafka's, before the first frame and after the last."""
        settings = self._settings
        sound(self._producer, part="bridge", name=self.client_id, run=settings.run, clock=self._clock)

    @property
    def rejected(self) -> int:
        """Count what went to ``frames-rejected``."""
        return self._rejected_before + self._outbox.rejected

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now."""
        yield from self._meter.taken_in()
        yield from self._meter.stages("store")
        yield metrics.FRAMES_SENT.of(self._meter.sent)
        yield metrics.UNACKNOWLEDGED_FRAMES.of(self._outbox.under_way)
        yield metrics.WINDOW_FRAMES.of(self._settings.window)
        yield metrics.RECONNECTS.of(self._inbox.reconnects)

    def run(self, *, done: Callable[[], bool]) -> dict[str, Any]:
        """Carry until ``done``; finish what is under way; give the closing account."""
        progress, costs = Progress("bridge", clock=self._clock), Costs()
        while not done():
            try:
                self._carry(wait_s=BUSY_WAIT_S if self._outbox.under_way else IDLE_WAIT_S)
            except UnreachableError as error:
                warn(f"bridge: {error}; starting over from what MQTT still holds")
                self._start_over(done=done)
            progress.tell(
                self.frames,
                rejected=self.rejected,
                under_way=self._outbox.under_way,
                reconnects=self._inbox.reconnects,
            )
        return self._close(costs)

    def _carry(self, *, wait_s: float) -> None:
        """Carry what fits the window: some brokers send on however much is unacknowledged."""
        room = max(0, self._settings.window - self._outbox.under_way)
        self.frames += carry(self._inbox, self._outbox, limit=room, wait_s=wait_s)
        if not room:
            self._inbox.stay()

    def _start_over(self, *, done: Callable[[], bool]) -> None:
        """Drop both connections: what had not reached Kafka comes again from MQTT."""
        self._inbox.drop()
        self._producer.abandon()
        self._meter.forget()
        self._rejected_before += self._outbox.rejected
        self._outbox.rejected = 0
        while not done():
            Deadline(self._clock, within_s=RETRY_S).pause(for_s=RETRY_S)
            with suppress(UnreachableError):
                # The topics too: a Kafka that came back empty has none.
                topics.ensure(self._settings.kafka, partitions=self._settings.partitions)
                self._producer = kafka.producer(self._settings.kafka, client=self._settings.kafka_client)
                self._outbox = KafkaOutbox(self._producer, clock=self._clock, meter=self._meter)
                return

    def _drained(self, deadline: Deadline) -> bool:
        """Carry what the broker has queued for this member of a share; say whether that was all of it.

        A session that is left behind would keep frames that the other bridges could have
        carried; one that ended with frames in it would lose them.
        """
        self._inbox.unsubscribe()
        quiet = Deadline(self._clock, within_s=QUIET_S)
        while not deadline.passed() and not (self._inbox.unsubscribed and quiet.passed()):
            self._carry(wait_s=BUSY_WAIT_S)
            if self._inbox.under_way():
                quiet = Deadline(self._clock, within_s=QUIET_S)
        return self._inbox.unsubscribed and quiet.passed()

    def _ending(self) -> bool:
        """Say whether the session is to end: a member's of a share would keep what the others could carry."""
        if self._settings.end_session or not self._settings.share:
            return self._settings.end_session
        # Who knows the others may stay the one that frames are kept for while there is no bridge.
        return self._name is None or self._name.leave()

    def _close(self, costs: Costs) -> dict[str, Any]:
        deadline = Deadline(self._clock, within_s=CLOSE_S)
        drained = self._ending() and self._drained(deadline)
        while self._outbox.under_way and not deadline.passed():
            self.frames += carry(self._inbox, self._outbox, limit=0, wait_s=BUSY_WAIT_S)
        self._inbox.close(end_session=drained)
        self._sound()
        if drained and self._name is not None:
            self._name.ended()
        summary = {
            "frames": self.frames,
            "rejected": self.rejected,
            "mqtt_reconnects": self._inbox.reconnects,
            "kafka_client": kafka.settled(self._settings.kafka_client).value,
            **costs.so_far(),
        }
        return close_account(
            self._producer,
            part="bridge",
            name=self.client_id,
            run=self._settings.run,
            summary=summary,
        )


def run(settings: BridgeSettings) -> tuple[dict[str, Any], int]:
    """Run a bridge until Ctrl-C or SIGTERM; give its account and exit code."""
    stop = Stop()
    with serving(settings.metrics, "bridge", name=settings.client_id, run=settings.run) as (told, meter):
        bridge = Bridge(settings, clock=SystemClock(), meter=meter)
        told.named(bridge.client_id)
        told.by(bridge.readings)
        stop.holding = True
        say(f"bridge: carrying {settings.mqtt} -> {settings.kafka} as {bridge.client_id}")
        return bridge.run(done=lambda: stop.asked), stop.exit_code
