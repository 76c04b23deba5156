"""The bridge as a process: carry until asked to stop, whatever the brokers do meanwhile."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from brokers.bridge.carry import carry
from brokers.bridge.outbox import KafkaOutbox
from edgewise import kafka, topics
from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.errors import UnreachableError
from edgewise.kafka import Client
from edgewise.mqtt.inbox import MqttInbox, Subscription
from edgewise.parts import CLOSE_S, Progress, Stop, close_account, say

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
    window: int = Field(default=1000, ge=1, le=65_535)
    """Frames in flight: taken from MQTT, not yet acknowledged."""
    partitions: int = Field(default=topics.PARTITIONS, ge=1)
    """Of the topics frames and results, if they are not there yet."""
    end_session: bool = False
    """At the end, carry what is queued and have the broker keep nothing more for this client id."""
    run: str = ""
    """The run that the closing account belongs to."""


class Bridge:
    """One MQTT session on one side, one producer on the other."""

    def __init__(self, settings: BridgeSettings, *, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        topics.ensure(settings.kafka, partitions=settings.partitions)
        self._producer = kafka.producer(settings.kafka, client=settings.kafka_client)
        self._outbox = KafkaOutbox(self._producer)
        share = "bridge" if settings.share else None
        subscription = Subscription(part="bridge", client_id=settings.client_id, share=share, window=settings.window)
        self._inbox = MqttInbox(settings.mqtt, subscription=subscription, clock=clock, say=say)
        self.frames = 0
        self._rejected_before = 0

    @property
    def rejected(self) -> int:
        """Count what went to ``frames-rejected``."""
        return self._rejected_before + self._outbox.rejected

    def run(self, *, done: Callable[[], bool]) -> dict[str, Any]:
        """Carry until ``done``; finish what is under way; give the closing account."""
        progress = Progress("bridge", clock=self._clock)
        while not done():
            try:
                self._carry(wait_s=BUSY_WAIT_S if self._outbox.under_way else IDLE_WAIT_S)
            except UnreachableError as error:
                say(f"bridge: {error}; starting over from what MQTT still holds")
                self._start_over(done=done)
            progress.tell(
                self.frames,
                rejected=self.rejected,
                under_way=self._outbox.under_way,
                reconnects=self._inbox.reconnects,
            )
        return self._close()

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
        self._rejected_before += self._outbox.rejected
        self._outbox.rejected = 0
        while not done():
            Deadline(self._clock, within_s=RETRY_S).pause(for_s=RETRY_S)
            with suppress(UnreachableError):
                # The topics too: a Kafka that came back empty has none.
                topics.ensure(self._settings.kafka, partitions=self._settings.partitions)
                self._producer = kafka.producer(self._settings.kafka, client=self._settings.kafka_client)
                self._outbox = KafkaOutbox(self._producer)
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

    def _close(self) -> dict[str, Any]:
        deadline = Deadline(self._clock, within_s=CLOSE_S)
        # A member of a share always ends: its session would keep what the others could carry.
        ending = self._settings.share or self._settings.end_session
        drained = ending and self._drained(deadline)
        while self._outbox.under_way and not deadline.passed():
            self.frames += carry(self._inbox, self._outbox, limit=0, wait_s=BUSY_WAIT_S)
        self._inbox.close(end_session=drained)
        summary = {"frames": self.frames, "rejected": self.rejected, "mqtt_reconnects": self._inbox.reconnects}
        return close_account(
            self._producer,
            part="bridge",
            name=self._settings.client_id,
            run=self._settings.run,
            summary=summary | {"kafka_client": kafka.settled(self._settings.kafka_client).value},
        )


def run(settings: BridgeSettings) -> tuple[dict[str, Any], int]:
    """Run a bridge until Ctrl-C or SIGTERM; give its account and exit code."""
    stop = Stop()
    bridge = Bridge(settings, clock=SystemClock())
    stop.holding = True
    say(f"bridge: carrying {settings.mqtt} -> {settings.kafka}")
    return bridge.run(done=lambda: stop.asked), stop.exit_code
