"""The settings and the command line of the embedded Kafka."""

from pathlib import Path
from typing import Final

from brokers.secured import folder
from brokers.secured.rights import ADMIN
from edgewise import addresses, java

HEAP_MB: Final = 512
MESSAGE_MAX_BYTES: Final = 2 * 1024 * 1024
"""Frames have up to 1,000,000 bytes; their headers and a record batch's come on top."""
LOGGING: Final = Path(__file__).with_name("log4j2.properties")

SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
controller.listener.names=CONTROLLER
{listeners}
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

PLAIN: Final = """\
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT"""

SECURED: Final = """\
listeners=SASL_SSL://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=SASL_SSL://{host}:{port}
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SSL
inter.broker.listener.name=SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={secrets}/{keystore}
ssl.truststore.type=PEM
ssl.truststore.location={secrets}/{ca}

# Clients say a user's name and prove that they know the password. The controller's only client is this broker itself,
# by its certificate: users stand in the very log that the controller keeps.
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.controller.ssl.client.auth=required
config.providers=directory
config.providers.directory.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\\
  org.apache.kafka.common.security.scram.ScramLoginModule required \\
  username="{admin}" password="${{directory:{secrets}:{password}}}";

# What no ACL allows is forbidden.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{admin};User:CN={name}"""


def topics(data: Path) -> Path:
    """Say where Kafka keeps the topics, and the mark that the folder is formatted."""
    return data / "topics"


def write(data: Path, *, port: int, host: str = addresses.LOOPBACK, secured: Path | None = None) -> Path:
    """Write the settings file; the controller's port is a new one every time, nobody else needs it.

    ``secured`` is a folder of secrets: with it nobody is let in who is no user of theirs.
    """
    path = data / "server.properties"
    controller_port = addresses.free_port()
    if secured is None:
        listeners = PLAIN.format(host=host, port=port, controller_port=controller_port)
    else:
        listeners = SECURED.format(
            host=host,
            port=port,
            controller_port=controller_port,
            secrets=secured.absolute() / folder.KAFKA,
            keystore=folder.KEYSTORE,
            ca=folder.CA,
            password=folder.ADMIN_PASSWORD,
            admin=ADMIN,
            name=folder.KAFKA,
        )
    path.write_text(
        SETTINGS.format(
            host=host,
            controller_port=controller_port,
            listeners=listeners,
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
