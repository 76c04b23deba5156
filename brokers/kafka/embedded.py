"""A real Apache Kafka of our own: one process, KRaft, loopback only.

What it had acknowledged is still there after ``kill``: only a machine that loses
power loses what Linux had not yet written.
"""

from pathlib import Path
from typing import Final

from brokers.broker import Broker
from brokers.kafka import rehearsal, settings
from brokers.kafka.answer import answers
from brokers.secured import folder
from brokers.secured.rights import ADMIN
from edgewise import jars, java, security
from edgewise.clock import Clock


def kafka(data: Path, *, port: int = 0, clock: Clock | None = None, secured: Path | None = None) -> Broker:
    """Give a Kafka that keeps everything in ``data``; its jars are fetched when it first starts.

    With ``secured``, a folder of secrets, it knows its administrator alone until ``admit`` was called.
    """
    return Broker(Kafka(secured), data=data, port=port, clock=clock)


class Kafka:
    """See Recipe."""

    name: Final = "Apache Kafka"
    start_within_s: Final = 90.0

    def __init__(self, secured: Path | None = None) -> None:
        """Read the administrator's profile, if there is to be one."""
        self._secured = secured
        self._access = security.read(secured, part=ADMIN).kafka if secured else None

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe; an empty folder is formatted, as KRaft wants it."""
        runtime, lib = java.find(), jars.fetch(jars.KAFKA)
        ready = rehearsal.ready(runtime, lib=lib)
        flags = rehearsal.flags(ready)
        file = settings.write(data, port=port, secured=self._secured)
        if self._secured is None:
            rehearsal.format_folder(data, place=ready)
        elif not rehearsal.formatted(data):
            rehearsal.format_by_tool(runtime, file, lib=lib, more=(f"@{self._secured / folder.KAFKA / folder.FORMAT}",))
        return [*settings.command(runtime, lib=lib, flags=flags), "kafka.Kafka", str(file)]

    def answers(self, port: int) -> bool:
        """See Recipe."""
        return answers(port, access=self._access)
