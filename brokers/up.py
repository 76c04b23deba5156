"""Both embedded brokers together, for one command's lifetime.

They start side by side, so that the whole takes as long as Kafka alone, and they end
with the process that started them, however that ends.
"""

import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from brokers.broker import STOP_WITHIN_S, Broker
from brokers.kafka.embedded import kafka
from brokers.mqtt.embedded import Choice, mqtt
from brokers.secured.admission import admit
from edgewise import addresses, metrics
from edgewise.clock import SECOND_NS, Clock, Deadline, SystemClock
from edgewise.endpoint import NOWHERE, Place, serving
from edgewise.errors import ConfigError, UnreachableError
from edgewise.metrics import Reading
from edgewise.parts import say, warn

LOOK_AGAIN_NS: Final = SECOND_NS // 4
CTRL_C: Final = 130


@dataclass(frozen=True, slots=True)
class Brokers:
    """Both, and both answer."""

    mqtt: Broker
    kafka: Broker

    def readings(self) -> Iterator[Reading]:
        """Give what there is to scrape now."""
        for name, broker in (("mqtt", self.mqtt), ("kafka", self.kafka)):
            yield metrics.BROKER_RUNNING.of(broker.pid is not None, name)

    def check(self) -> None:
        """Raise UnreachableError with the last words of a broker that has ended by itself."""
        for broker in (self.mqtt, self.kafka):
            if broker.pid is None:
                hint = f"it ended by itself; the end of {broker.log}:\n{broker.last_words()}"
                raise UnreachableError(broker.name, at=broker.address, hint=hint)


@contextmanager
def up(
    *,
    mqtt_port: int | None = None,
    kafka_port: int | None = None,
    data: Path | None = None,
    mqtt_broker: Choice = "auto",
    secured: Path | None = None,
    clock: Clock | None = None,
) -> Iterator[Brokers]:
    """Start both brokers, wait until both answer, and stop both at the end, within 10 s.

    Without a port the usual one is taken when it is free, else another. Without
    ``data`` they keep what they hold in a temporary folder, which goes with them.
    With ``secured``, a folder of secrets, they encrypt, and let in its users alone.
    Other commands find them meanwhile, see ``edgewise.addresses``.

    Raises:
        ConfigError: a given port is busy.
        MissingError: Java or jars are missing and could not be fetched.
        UnreachableError: a broker did not start; the text has its last words.
    """
    clock = clock or SystemClock()
    mqtt_at = _port(mqtt_port, usual=addresses.MQTT_PORT, option="--mqtt-port")
    kafka_at = _port(kafka_port, usual=addresses.KAFKA_PORT, option="--kafka-port")
    base = (data or Path(tempfile.mkdtemp(prefix="edgewise-"))).absolute()
    brokers: Brokers | None = None
    try:  # from here on: Ctrl-C may come before there are brokers
        brokers = Brokers(
            mqtt(base / "mqtt", port=mqtt_at, choice=mqtt_broker, clock=clock, secured=secured),
            kafka(base / "kafka", port=kafka_at, clock=clock, secured=secured),
        )
        for broker in (brokers.mqtt, brokers.kafka):
            broker.launch()
        for broker in (brokers.mqtt, brokers.kafka):
            broker.await_answer()
        if secured is not None:
            admit(brokers.kafka.address, secured)
        with addresses.remember(mqtt=brokers.mqtt.address, kafka=brokers.kafka.address):
            yield brokers
    finally:
        with _undisturbed():
            if brokers is not None:
                _stop(brokers, clock)
            if data is None:
                shutil.rmtree(base, ignore_errors=True)


def run_up(
    *,
    mqtt_port: int | None = None,
    kafka_port: int | None = None,
    data: Path | None = None,
    mqtt_broker: Choice = "auto",
    secured: Path | None = None,
    clock: Clock | None = None,
    place: Place = NOWHERE,
) -> int:
    """Run both brokers until Ctrl-C or SIGTERM; return the exit code: 130 for Ctrl-C, else 0.

    Their addresses go to stdout when both answer, one line each, so that a script that
    has read the second line may begin.

    Raises:
        EdgewiseError: see ``up``; UnreachableError also when a broker ends by itself later.
    """
    clock = clock or SystemClock()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _end)
    try:
        with (
            serving(place, "up") as (told, _),
            up(
                mqtt_port=mqtt_port,
                kafka_port=kafka_port,
                data=data,
                mqtt_broker=mqtt_broker,
                secured=secured,
                clock=clock,
            ) as brokers,
        ):
            told.by(brokers.readings)
            told.keeps(brokers.kafka.data, holds="data")
            print(f"mqtt  {brokers.mqtt.address}\nkafka {brokers.kafka.address}", flush=True)  # noqa: T201 - the result
            say(f"{brokers.mqtt.name} and {brokers.kafka.name} answer; other commands find them; Ctrl-C stops both")
            while True:
                brokers.check()
                clock.sleep_until(clock.ticks_ns() + LOOK_AGAIN_NS)
    except KeyboardInterrupt:
        # Both have stopped; a second one must not turn the clean end into a violent one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return CTRL_C
    except _EndedError:
        return 0


class _EndedError(BaseException):
    """SIGTERM, as KeyboardInterrupt is Ctrl-C."""


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _EndedError


def _port(given: int | None, *, usual: int, option: str) -> int:
    if given is not None:
        if not addresses.is_free(given):
            raise ConfigError(f"{option} {given}: another program listens there; give another port, or none")
        return given
    if addresses.is_free(usual):
        return usual
    port = addresses.free_port()
    warn(f"port {usual} is taken by another program; using {port} (choose one yourself with {option})")
    return port


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C wait: what follows is bounded, and half of it would leave a folder behind."""
    # Only the main thread may say so, and only it is interrupted.
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(brokers: Brokers, clock: Clock) -> None:
    deadline = Deadline(clock, within_s=STOP_WITHIN_S)
    for broker in (brokers.kafka, brokers.mqtt):
        broker.ask_to_stop()
    for broker in (brokers.kafka, brokers.mqtt):
        broker.stop(within_s=deadline.left_s())
