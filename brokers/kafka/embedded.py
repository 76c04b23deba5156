"""A real Apache Kafka of our own: one process, KRaft, loopback only.

What it had acknowledged is still there after ``kill``: only a machine that loses
power loses what Linux had not yet written.
"""

from pathlib import Path
from typing import Final

from brokers.broker import Broker
from brokers.kafka import rehearsal, settings
from brokers.kafka.answer import answers
from edgewise import jars, java
from edgewise.clock import Clock


def kafka(data: Path, *, port: int = 0, clock: Clock | None = None) -> Broker:
    """Give a Kafka that keeps everything in ``data``; its jars are fetched when it first starts."""
    return Broker(Kafka(), data=data, port=port, clock=clock)


class Kafka:
    """See Recipe."""

    name: Final = "Apache Kafka"
    start_within_s: Final = 90.0

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe; an empty folder is formatted, as KRaft wants it."""
        runtime, lib = java.find(), jars.fetch(jars.KAFKA)
        ready = rehearsal.ready(runtime, lib=lib)
        rehearsal.format_folder(data, place=ready)
        flags = rehearsal.flags(ready)
        file = settings.write(data, port=port)
        return [*settings.command(runtime, lib=lib, flags=flags), "kafka.Kafka", str(file)]

    def answers(self, port: int) -> bool:
        """See Recipe."""
        return answers(port)
