"""The settings and the command line of the embedded Kafka."""

from pathlib import Path
from typing import Final

from edgewise import addresses, java

HEAP_MB: Final = 512
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


def topics(data: Path) -> Path:
    """Say where Kafka keeps the topics, and the mark that the folder is formatted."""
    return data / "topics"


def write(data: Path, *, port: int) -> Path:
    """Write the settings file; the controller's port is a new one every time, nobody else needs it."""
    path = data / "server.properties"
    path.write_text(
        SETTINGS.format(
            host=addresses.LOOPBACK,
            port=port,
            controller_port=addresses.free_port(),
            logs=topics(data),
            message_max_bytes=MESSAGE_MAX_BYTES,
        )
    )
    return path


def command(runtime: java.Java, *, lib: Path, flags: tuple[str, ...]) -> list[str]:
    """Give the command line up to the class to run."""
    # Spelled out and sorted: the archive of loaded classes only fits exactly this class path.
    class_path = ":".join(str(jar) for jar in sorted(lib.glob("*.jar")))
    return [
        str(runtime.program),
        *runtime.options,
        f"-Xms{HEAP_MB}m",
        f"-Xmx{HEAP_MB}m",
        "-XX:+UseG1GC",
        "-XX:MaxGCPauseMillis=20",
        # The quick compiler alone. Measured on two busy cores: start 4 s instead of 8 s, and half the CPU per record
        # over the first 60,000, because the thorough one compiles on the very cores that are being measured.
        "-XX:TieredStopAtLevel=1",
        "-Djava.awt.headless=true",
        f"-Dlog4j2.configurationFile={LOGGING.as_uri()}",
        *flags,
        *("-cp", class_path),
    ]
