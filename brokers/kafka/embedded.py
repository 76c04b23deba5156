"""A real Apache Kafka of our own: one process, KRaft, loopback only.

What it had acknowledged is still there after ``kill``: only a machine that loses
power loses what Linux had not yet written.
"""

import base64
import contextlib
import socket
import uuid
from pathlib import Path
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from brokers import jars, java
from brokers.broker import Broker
from edgewise import addresses, processes
from edgewise.clock import Clock
from edgewise.errors import MissingError

HEAP_MB: Final = 512
FORMAT_HEAP_MB: Final = 128
FORMAT_WITHIN_S: Final = 60.0
REQUEST_WAIT_MS: Final = 3_000
MESSAGE_MAX_BYTES: Final = 2 * 1024 * 1024
"""Frames have up to 1,000,000 bytes; their headers and a record batch's come on top."""
LOGGING: Final = Path(__file__).with_name("log4j2.properties")

SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}

# Topics are made by name, never by accident.
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
min.insync.replicas=1
message.max.bytes={message_max_bytes}
replica.fetch.max.bytes={message_max_bytes}
log.retention.hours=24

# One broker, so one copy; few partitions, because each costs time at every start.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# Nobody else will join: do not wait for them.
group.initial.rebalance.delay.ms=0

# After kill -9 the controller waits for the dead broker's session to end: seconds instead of a quarter of a minute.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

num.network.threads=2
num.io.threads=4
"""


def kafka(data: Path, *, port: int = 0, clock: Clock | None = None) -> Broker:
    """Give a Kafka that keeps everything in ``data``; its jars are fetched when it first starts."""
    return Broker(Kafka(), data=data, port=port, clock=clock)


class Kafka:
    """See Recipe."""

    name: Final = "Apache Kafka"
    start_within_s: Final = 90.0

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe; an empty folder is formatted, as KRaft wants it."""
        runtime, lib, settings = java.find(), jars.fetch(jars.KAFKA), data / "server.properties"
        settings.write_text(
            SETTINGS.format(
                host=addresses.LOOPBACK,
                port=port,
                controller_port=addresses.free_port(),
                logs=data / "topics",
                message_max_bytes=MESSAGE_MAX_BYTES,
            )
        )
        if not (data / "topics" / "meta.properties").exists():
            _format(data, command=_java(runtime, lib=lib, heap_mb=FORMAT_HEAP_MB), settings=settings)
        return [*_java(runtime, lib=lib, heap_mb=HEAP_MB), "kafka.Kafka", str(settings)]

    def answers(self, port: int) -> bool:
        """See Recipe: an admin request names a broker, so topics can be made and frames be stored."""
        try:
            # First a bare connection, because kafka-python logs every one that is refused.
            socket.create_connection((addresses.LOOPBACK, port), timeout=1).close()
            admin = KafkaAdminClient(
                bootstrap_servers=f"{addresses.LOOPBACK}:{port}", request_timeout_ms=REQUEST_WAIT_MS
            )
        except (OSError, KafkaError):
            return False
        with contextlib.closing(admin):
            try:
                return bool(admin.describe_cluster()["brokers"])
            except KafkaError:
                return False


def _java(runtime: java.Java, *, lib: Path, heap_mb: int) -> list[str]:
    return [
        str(runtime.program),
        *runtime.options,
        f"-Xms{heap_mb}m",
        f"-Xmx{heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={LOGGING.as_uri()}",
        *("-cp", f"{lib}/*"),
    ]


def _format(data: Path, *, command: list[str], settings: Path) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    arguments = ["kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(settings), "--ignore-formatted"]
    child = processes.start([*command, *arguments], name="Kafka's formatting", log=data / "format.log")
    if child.wait(within_s=FORMAT_WITHIN_S) != 0:
        child.kill()
        raise MissingError(f"Apache Kafka cannot use {data}; it said:\n{child.tail()}")
