"""A Spark session with the settings that a stream of small batches wants, and a log of its own."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from edgewise import jars, java
from edgewise.addresses import LOOPBACK
from edgewise.clock import Clock, Deadline
from edgewise.errors import ConfigError, MissingError, UnreachableError
from edgewise.places import CHECKOUT

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEEDED: Final = (3, 5)
"""BigDL's jars are Scala 2.12, which Spark 4 is not."""
MASTER_S: Final = 5.0
"""How long a standalone master may take to answer a connection."""
EXECUTORS_S: Final = 120.0
"""How long a cluster may take to start its first executor."""
SETTLED_S: Final = 5.0
"""For how long no further executor comes when all are there."""
LOOK_AGAIN_S: Final = 0.1
LOCAL_THREADS: Final = re.compile(r"local(\[|$)")
"""Masters whose executor is the driver itself."""
END_S: Final = 15.0
"""How long Spark's Java may take to end."""
BARE_FILES: Final = "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem"
PLAIN_CHECKPOINTS: Final = "org.apache.spark.sql.execution.streaming.FileSystemBasedCheckpointFileManager"

QUICK_JAVA: Final = (
    "-XX:+UseSerialGC",
    # The quick compiler alone: what takes long here is the engine, which is no Java. The thorough one
    # used up a core for a minute, and left a BigDL of one task 900 frames a second instead of 1,190.
    "-XX:TieredStopAtLevel=1",
)
STREAMING: Final[Mapping[str, str]] = {
    # A page that nobody asked for, and lists that would grow with every batch.
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.retainedJobs": "20",
    "spark.ui.retainedStages": "20",
    "spark.ui.retainedTasks": "100",
    "spark.sql.ui.retainedExecutions": "5",
    "spark.sql.streaming.ui.enabled": "false",
    # The driver looks ten times a second; each report keeps its batch's plan.
    "spark.sql.streaming.numRecentProgressUpdates": "25",
    # Offsets and commits of so many batches stay in the checkpoint; 100 would be Spark's own choice.
    "spark.sql.streaming.minBatchesToRetain": "20",
    # A frame must not wait 3 s for the executor that read its partition before.
    "spark.locality.wait": "100ms",
    # Plans are the same in every batch: nothing to adapt.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    # Where it is known how many executors there will be (yarn, k8s, --cores), tasks wait for all of them.
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    # Python workers with a short path (see daemon).
    "spark.python.daemon.module": "consumers.cluster.spark.daemon",
}

LOGGING: Final = """\
status = error
rootLogger.level = {level}
rootLogger.appenderRef.c.ref = c
appender.c.type = Console
appender.c.name = c
appender.c.target = SYSTEM_ERR
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = %d{{HH:mm:ss}} %p %c{{1}}: %m%n
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session is told."""

    master: str
    name: str
    """Of the application, in Spark's own lists."""
    log: Path | None
    """Where Spark's words go; None leaves them on stderr."""
    verbose: bool = False
    """Whether warnings are among them."""
    bare_files: bool = True
    """Whether the checkpoint is on this machine: then nothing is forked to write it."""
    driver_memory: str = "1g"
    executor_memory: str = "1g"
    executor_cores: int = 0
    """Of each executor of a cluster; 0 leaves it to the cluster."""
    cores: int = 0
    """Of all executors together, on a standalone master; 0 is all there are."""
    jars: Sequence[Path] = ()
    settings: Mapping[str, str] | None = None
    """More of Spark's own, which win."""


def refuse_wrong_spark() -> None:
    """Raise MissingError if there is no pyspark, or one that the jars do not fit."""
    try:
        import pyspark
    except ImportError as error:
        raise MissingError(
            f"the cluster needs pyspark, which is not installed; install it with: {jars.INSTALL_SPARK}"
        ) from error
    found = pyspark.__version__
    if tuple(int(part) for part in found.split(".")[:2]) != NEEDED:
        raise MissingError(
            f"pyspark is {found}, the jars are for 3.5 (BigDL's are Scala 2.12); run: {jars.INSTALL_SPARK}"
        )


def refuse_silent_master(master: str) -> None:
    """Raise UnreachableError if nobody listens where a standalone master should be: Spark would look for a minute."""
    if not master.startswith("spark://"):
        return
    for address in master.removeprefix("spark://").split(","):
        host, _, port = address.rpartition(":")
        with suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=MASTER_S):
            return
    raise UnreachableError("Spark's master", at=master, hint="start it, or name another --master, such as local[2]")


def _on_loopback(master: str) -> bool:
    return is_local(master) or f"//{LOOPBACK}:" in master


def is_local(master: str) -> bool:
    """Say whether every process of this master is on this machine, and ours."""
    return master.startswith("local")


@contextmanager
def session(wanted: Wanted) -> Iterator["SparkSession"]:
    """Give a session; end it and its Java afterwards.

    Raises:
        ConfigError: no such master, or a log that cannot be written.
        MissingError: no Java 17, no pyspark 3.5, no jars; or Spark's Java ended at once.
        UnreachableError: the master does not answer.
    """
    refuse_wrong_spark()
    refuse_silent_master(wanted.master)
    from pyspark import SparkConf, SparkContext
    from pyspark.errors import PySparkRuntimeError
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    runtime, connector = java.find(), jars.fetch(jars.SPARK)
    _environment(wanted, runtime)
    with tempfile.TemporaryDirectory(prefix="edgewise-spark-") as scratch:
        logging = Path(scratch) / "log4j2.properties"
        logging.write_text(LOGGING.format(level="warn" if wanted.verbose else "error"))
        conf = SparkConf(loadDefaults=False)
        for name, value in settings(wanted, runtime, connector, logging).items():
            conf.set(name, value)
        try:
            with _said(wanted) as said:
                gateway = launch_gateway(conf, {"stdout": said, "stderr": said})  # type: ignore[no-untyped-call]
        except PySparkRuntimeError as error:
            raise MissingError(f"Spark's Java ended at once; {_where(wanted)}") from error
        try:
            yield SparkSession(_context(SparkContext, conf, gateway, wanted))
        finally:
            end(SparkContext, gateway)


def _context(context: Any, conf: Any, gateway: Any, wanted: Wanted) -> Any:  # noqa: ANN401 - pyspark's, loaded late
    from py4j.protocol import Py4JError

    asked = signal.getsignal(signal.SIGINT)
    try:
        return context(conf=conf, gateway=gateway)
    except Py4JError as error:
        words = ""
        with suppress(Py4JError):  # the text is asked of Java, which may have ended
            words = str(error)
        if "Could not parse Master URL" in words:
            raise ConfigError(f"--master {wanted.master!r} is none that Spark knows; for example local[2]") from error
        hint = f"Spark could not begin; {_where(wanted)}"
        raise UnreachableError("Spark", at=wanted.master, hint=hint) from error
    finally:
        signal.signal(signal.SIGINT, asked)  # pyspark takes Ctrl-C for itself


def end(context: Any, gateway: Any) -> None:  # noqa: ANN401
    """Stop what runs, then the Java: closing its stdin is how it is told."""
    # A signal may have cut off the last question to Java, which then answers no other: it ends all the same.
    with suppress(Exception):
        if context._active_spark_context is not None:  # noqa: SLF001 - there is no public way to ask
            context._active_spark_context.stop()  # noqa: SLF001
    # py4j has a thread that tells Java of garbage, and would complain at length about a Java that is gone.
    gateway._gateway_client.is_connected = False  # noqa: SLF001
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(END_S)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()
    context._active_spark_context = None  # noqa: SLF001 - so that the next session starts a Java of its own
    context._gateway = context._jvm = None  # noqa: SLF001


@contextmanager
def _said(wanted: Wanted) -> Iterator[IO[bytes]]:
    """Open what Spark's Java writes to: stdout is for data, and not Spark's."""
    if wanted.log is None:
        yield sys.stderr.buffer
        return
    try:
        wanted.log.parent.mkdir(parents=True, exist_ok=True)
        log = wanted.log.open("ab")
    except OSError as error:
        raise ConfigError(
            f"--spark-log {wanted.log}: {error.strerror or error}; name a file that can be written"
        ) from error
    with log:
        yield log


def _where(wanted: Wanted) -> str:
    return f"its words are in {wanted.log}" if wanted.log else "its words are above"


def _environment(wanted: Wanted, runtime: java.Java) -> None:
    os.environ["JAVA_HOME"] = str(runtime.home)
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ.pop("PYSPARK_SUBMIT_ARGS", None)
    if _on_loopback(wanted.master):
        os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)


def settings(wanted: Wanted, runtime: java.Java, connector: Path, logging: Path) -> dict[str, str]:
    """Give Spark's settings for what is wanted."""
    options = " ".join([*QUICK_JAVA, *runtime.options])
    mine = [*sorted(connector.glob("*.jar")), *wanted.jars]
    found = {
        **STREAMING,
        "spark.master": wanted.master,
        "spark.app.name": wanted.name,
        "spark.jars": ",".join(str(jar) for jar in mine),
        "spark.driver.memory": wanted.driver_memory,
        "spark.executor.memory": wanted.executor_memory,
        "spark.executor.extraJavaOptions": " ".join(QUICK_JAVA),
        "spark.driver.extraJavaOptions": f"{options} -Dlog4j2.configurationFile=file:{logging}",
        "spark.executorEnv.PYTHONPATH": str(CHECKOUT),
    }
    if _on_loopback(wanted.master):
        found |= {"spark.driver.host": LOOPBACK, "spark.driver.bindAddress": LOOPBACK}
    if wanted.bare_files:
        (bare,) = connector.glob("hadoop-bare-naked-local-fs-*.jar")
        found |= {
            # On the class path from the start: jars named in spark.jars come too late for a file system.
            "spark.driver.extraClassPath": str(bare),
            "spark.hadoop.fs.file.impl": BARE_FILES,
            "spark.sql.streaming.checkpointFileManagerClass": PLAIN_CHECKPOINTS,
        }
    if wanted.executor_cores:
        found["spark.executor.cores"] = str(wanted.executor_cores)
    if wanted.cores:
        found["spark.cores.max"] = str(wanted.cores)
    return found | dict(wanted.settings or {})


def slots(spark: "SparkSession", *, clock: Clock) -> int:
    """Say how many tasks run at the same time, by what the master really gave: its executors come one by one.

    Raises:
        UnreachableError: there is none, and none has come in time.
    """
    master = str(spark.sparkContext.master)
    settle_s = 0.0 if LOCAL_THREADS.match(master) else SETTLED_S
    given_up, found = Deadline(clock, within_s=EXECUTORS_S), _slots(spark)
    settled = Deadline(clock, within_s=settle_s)
    while not (found and settled.passed()):
        if given_up.passed():
            hint = f"it gave no executor in {EXECUTORS_S:.0f} s; see whether it has cores and memory to give"
            raise UnreachableError("Spark's master", at=master, hint=hint)
        given_up.pause(for_s=LOOK_AGAIN_S)
        before, found = found, _slots(spark)
        if found != before:
            settled = Deadline(clock, within_s=settle_s)
    return found


def _slots(spark: "SparkSession") -> int:
    java = spark.sparkContext._jsc.sc()  # noqa: SLF001 - not in Python's interface
    return int(java.maxNumConcurrentTasks(java.resourceProfileManager().defaultResourceProfile()))
