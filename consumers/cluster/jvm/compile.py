"""The Scala sources here to a jar, with the compiler that pyspark brings along.

It takes some ten seconds, once: the jar is kept, under a name that changes with the sources
and with the jars that they are compiled against. A cluster needs this jar and BigDL's, and
no setting: the threads of BigDL's native library are set where it is loaded.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edgewise import java, processes
from edgewise.errors import EdgewiseError, MissingError
from edgewise.jars import INSTALL_SPARK, inside
from edgewise.parts import say
from edgewise.places import cache, once

SOURCES: Final = tuple(sorted(Path(__file__).parent.glob("*.scala")))
COMPILER: Final = ("scala-compiler", "scala-reflect", "scala-library")
COMPILE_WAIT_S: Final = 600.0
"""Far more than any machine needs."""
INSTALL_BIGDL: Final = "pip install --no-deps -r requirements-bigdl.txt"


def jar() -> Path:
    """Return the jar of our classes, compiling it first if it is not there.

    Raises:
        MissingError: no pyspark, no BigDL or no Java.
    """
    spark, bigdl = spark_jars(), bigdl_jars()
    digest = hashlib.sha256()
    for source in SOURCES:
        digest.update(source.name.encode() + source.read_bytes())
    for one in (*spark, *bigdl):
        digest.update(one.name.encode())
    place = cache() / "jars" / f"edgewise-cluster-{digest.hexdigest()[:12]}.jar"
    return once(place, lambda: _compile(place, spark, bigdl), lock="jars-edgewise-cluster")


def bigdl_jars() -> Sequence[Path]:
    """List BigDL's jars, as ``spark.jars`` takes them.

    Raises:
        MissingError: BigDL is not installed.
    """
    found = inside("bigdl", "share/*/lib/*.jar")
    if not found:
        raise MissingError(f"--engine bigdl needs BigDL, which is not installed; install it with: {INSTALL_BIGDL}")
    return found


def spark_jars() -> Sequence[Path]:
    """List the jars of pyspark.

    Raises:
        MissingError: pyspark is not installed.
    """
    found = inside("pyspark", "jars/*.jar")
    if not found:
        raise MissingError(f"the cluster needs Spark, which is not installed; install it with: {INSTALL_SPARK}")
    return found


def _compile(place: Path, spark: Sequence[Path], bigdl: Sequence[Path]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    say("compiling the cluster's Scala (some ten seconds, once) ...")
    runtime = java.find()
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as scratch:
        partial, log = Path(scratch) / place.name, Path(scratch) / "scalac.log"
        child = processes.start(
            [
                str(runtime.program),
                *runtime.options,
                "-Xss8m",
                *("-cp", _path([one for one in spark if one.name.rpartition("-")[0] in COMPILER])),
                *("scala.tools.nsc.Main", "-nobootcp", "-deprecation", "-feature", "-unchecked", "-Xfatal-warnings"),
                *("-classpath", _path([*spark, *bigdl])),
                *("-d", str(partial)),
                *map(str, SOURCES),
            ],
            name="the Scala compiler",
            log=log,
        )
        try:
            code = child.wait(within_s=COMPILE_WAIT_S)
        finally:
            child.kill()
        if code != 0:
            # Our own sources and pinned jars: no user can mend this.
            raise EdgewiseError(f"the cluster's Scala does not compile:\n{child.tail(lines=40)}")
        partial.rename(place)


def _path(jars: Sequence[Path]) -> str:
    return ":".join(map(str, jars))
