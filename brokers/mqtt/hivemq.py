"""HiveMQ Community Edition: the MQTT broker for a machine without mosquitto.

A Java program, so it starts in seconds where mosquitto takes a hundredth; in return
it has what it confirmed on disk, and keeps it over ``kill``.
"""

from pathlib import Path
from typing import Final

from brokers.mqtt import answer
from edgewise import jars, java
from edgewise.addresses import LOOPBACK

HEAP_MB: Final = 512
LAUNCHER: Final = Path(__file__).with_name("HiveMq.java")

# Limits are the largest that it takes: nothing that was confirmed is dropped, and the client's receive maximum decides.
SETTINGS: Final = """\
<?xml version="1.0"?>
<hivemq>
  <listeners><tcp-listener><port>{port}</port><bind-address>{host}</bind-address></tcp-listener></listeners>
  <mqtt>
    <queued-messages><max-queue-size>9223372036854775807</max-queue-size><strategy>discard</strategy></queued-messages>
    <receive-maximum><server-receive-maximum>65535</server-receive-maximum></receive-maximum>
    <packets><max-packet-size>{packet_max_bytes}</max-packet-size></packets>
  </mqtt>
  <persistence><mode>file</mode></persistence>
  <anonymous-usage-statistics><enabled>false</enabled></anonymous-usage-statistics>
</hivemq>
"""
LOGGING: Final = """\
<configuration>
  <appender name="out" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{HH:mm:ss} %p %logger{0}: %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="out"/></root>
</configuration>
"""

# What its own start script opens: Netty and the measuring of memory reach into the JDK.
OPENED: Final = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=jdk.management/com.sun.management.internal=ALL-UNNAMED",
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
)


class HiveMq:
    """See Recipe."""

    name: Final = "HiveMQ Community Edition"
    start_within_s: Final = 90.0

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe; its jars are fetched when they are missing."""
        runtime, lib = java.find(), jars.fetch(jars.HIVEMQ)
        for folder in ("conf", "data", "extensions", "log"):
            (data / folder).mkdir(exist_ok=True)
        settings = SETTINGS.format(host=LOOPBACK, port=port, packet_max_bytes=answer.PACKET_MAX_BYTES)
        (data / "conf" / "config.xml").write_text(settings)
        (data / "conf" / "logback.xml").write_text(LOGGING)
        return [
            str(runtime.program),
            *runtime.options,
            f"-Xms{HEAP_MB}m",
            f"-Xmx{HEAP_MB}m",
            "-XX:+UseG1GC",
            # The quick compiler alone, as for Kafka: start 3.5 s instead of 6.3 s on two cores.
            "-XX:TieredStopAtLevel=1",
            "-Djava.awt.headless=true",
            *OPENED,
            f"-Dhivemq.home={data}",
            *("-cp", f"{lib}/*"),
            # Compiles a source file and runs it.
            *("org.codehaus.janino.SimpleCompiler", str(LAUNCHER), LAUNCHER.stem),
        ]

    def answers(self, port: int) -> bool:
        """See Recipe."""
        return answer.answers(port)
