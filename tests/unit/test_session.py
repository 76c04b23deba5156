"""What Spark is told, for each kind of master, and the path that its workers get."""

import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import pytest
from pyspark.sql import SparkSession

from consumers.cluster.spark import daemon, session
from consumers.cluster.spark.session import Wanted, is_local, settings
from edgewise import addresses
from edgewise.addresses import LOOPBACK
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import MissingError, UnreachableError
from edgewise.java import Java
from edgewise.places import CHECKOUT

LOCAL: Final = Wanted(master="local[2]", name="edgewise cluster", log=None)
STANDALONE: Final = replace(LOCAL, master="spark://far:7077")
RUNTIME: Final = Java(Path("jdk", "bin", "java"), "17.0.1", "PATH", options=("-Dtrust=site",))
LOGGING: Final = Path("log4j2.properties")


@pytest.fixture
def connector(tmp_path: Path) -> Path:
    for name in ("spark-sql-kafka-0-10_2.12-3.5.7.jar", "hadoop-bare-naked-local-fs-0.1.0.jar", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def told(wanted: Wanted, connector: Path) -> dict[str, str]:
    return settings(wanted, RUNTIME, connector, LOGGING)


def test_a_local_master_stays_on_the_loopback_and_uses_little(connector: Path) -> None:
    found = told(LOCAL, connector)
    assert (found["spark.master"], found["spark.app.name"]) == ("local[2]", "edgewise cluster")
    assert found["spark.driver.host"] == found["spark.driver.bindAddress"] == LOOPBACK
    assert "-XX:+UseSerialGC" in found["spark.driver.extraJavaOptions"]
    assert "-Dtrust=site" in found["spark.driver.extraJavaOptions"]
    assert f"-Dlog4j2.configurationFile=file:{LOGGING}" in found["spark.driver.extraJavaOptions"]
    assert found["spark.ui.enabled"] == "false"


def test_a_cluster_elsewhere_is_not_told_to_find_the_driver_on_the_loopback(connector: Path) -> None:
    found = told(STANDALONE, connector)
    assert "spark.driver.host" not in found
    assert "spark.driver.bindAddress" not in found
    assert "-XX:TieredStopAtLevel=1" in found["spark.executor.extraJavaOptions"]


def test_a_standalone_master_on_this_machine_is_met_on_the_loopback(connector: Path) -> None:
    found = told(replace(LOCAL, master=f"spark://{LOOPBACK}:7077"), connector)
    assert found["spark.driver.host"] == LOOPBACK


def test_cores_and_memory_are_said_only_where_they_were_asked_for(connector: Path) -> None:
    usual = told(STANDALONE, connector)
    assert not {"spark.cores.max", "spark.executor.cores"} & set(usual)
    asked = replace(STANDALONE, cores=8, executor_cores=2, executor_memory="3g", driver_memory="5g")
    found = told(asked, connector)
    assert (found["spark.cores.max"], found["spark.executor.cores"]) == ("8", "2")
    assert (found["spark.executor.memory"], found["spark.driver.memory"]) == ("3g", "5g")


def test_the_jars_are_the_connectors_and_the_engines(connector: Path) -> None:
    found = told(replace(LOCAL, jars=(Path("bigdl.jar"),)), connector)
    assert found["spark.jars"].split(",") == [*(str(jar) for jar in sorted(connector.glob("*.jar"))), "bigdl.jar"]


def test_a_checkpoint_on_this_machine_is_written_without_forking(connector: Path) -> None:
    here, elsewhere = told(LOCAL, connector), told(replace(LOCAL, bare_files=False), connector)
    assert here["spark.driver.extraClassPath"] == str(connector / "hadoop-bare-naked-local-fs-0.1.0.jar")
    assert here["spark.hadoop.fs.file.impl"] == session.BARE_FILES
    assert here["spark.sql.streaming.checkpointFileManagerClass"] == session.PLAIN_CHECKPOINTS
    assert not {"spark.driver.extraClassPath", "spark.hadoop.fs.file.impl"} & set(elsewhere)


def test_the_users_own_settings_win_over_all_of_ours(connector: Path) -> None:
    mine = dict.fromkeys(told(STANDALONE, connector), "mine") | {"spark.some.other": "too"}
    assert told(replace(STANDALONE, settings=mine), connector) == mine


def test_workers_find_this_kit_and_start_from_its_daemon(connector: Path) -> None:
    found = told(LOCAL, connector)
    assert found["spark.executorEnv.PYTHONPATH"] == str(CHECKOUT)
    assert found["spark.python.daemon.module"] == daemon.__name__


@pytest.mark.parametrize(
    ("master", "local"),
    [("local", True), ("local[4]", True), ("local-cluster[2,1,1024]", True), ("spark://a:1", False), ("yarn", False)],
)
def test_which_masters_are_of_this_machine_alone(master: str, *, local: bool) -> None:
    assert is_local(master) is local


def test_spark_says_warnings_only_if_asked_to() -> None:
    assert "rootLogger.level = warn\n" in session.LOGGING.format(level="warn")
    assert "{" not in session.LOGGING.format(level="error").replace("%d{HH:mm:ss}", "").replace("%c{1}", "")


# --- what a master gives --------------------------------------------------------------------------


class FakeSpark:
    """A session whose executors come by and by: each question after how many tasks run at once has its answer."""

    def __init__(self, master: str, answers: Sequence[int]) -> None:
        self.master, self._answers = master, list(answers)
        self.asked = 0
        self.sparkContext = self._jsc = self

    def sc(self) -> "FakeSpark":
        return self

    def resourceProfileManager(self) -> "FakeSpark":  # noqa: N802 - Spark's name
        return self

    def defaultResourceProfile(self) -> None:  # noqa: N802
        pass

    def maxNumConcurrentTasks(self, _: None) -> int:  # noqa: N802
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def given(master: str, *answers: int) -> tuple[int, float]:
    """Give how many tasks there are, and after how many seconds that was known."""
    clock = ManualClock()
    found = session.slots(cast("SparkSession", FakeSpark(master, answers)), clock=clock)
    return found, clock.ticks_ns() / SECOND_NS


@pytest.mark.parametrize("master", ["local", "local[3]", "local[*]"])
def test_a_driver_that_is_its_own_executor_is_not_waited_for(master: str) -> None:
    assert given(master, 3) == (3, 0)


@pytest.mark.parametrize("master", ["spark://far:7077", "local-cluster[2,1,1024]", "yarn"])
def test_executors_that_come_one_by_one_are_waited_for(master: str) -> None:
    found, after_s = given(master, 0, 0, 1, 1, 1, 2)
    assert found == 2
    assert after_s == pytest.approx(0.5 + session.SETTLED_S, abs=0.2)


def test_a_master_that_gives_no_executor_is_named() -> None:
    with pytest.raises(UnreachableError) as caught:
        given("spark://far:7077", 0)
    assert str(caught.value) == (
        "Spark's master does not answer at spark://far:7077; "
        "it gave no executor in 120 s; see whether it has cores and memory to give"
    )


def test_of_several_masters_one_that_listens_is_enough() -> None:
    silent = addresses.free_port()
    with socket.create_server((LOOPBACK, 0)) as listening:
        port = listening.getsockname()[1]
        session.refuse_silent_master(f"spark://{LOOPBACK}:{silent},{LOOPBACK}:{port}")
    with pytest.raises(UnreachableError, match=f"at spark://{LOOPBACK}:{silent}; start it, or name another --master"):
        session.refuse_silent_master(f"spark://{LOOPBACK}:{silent}")


@pytest.mark.parametrize("master", ["local[2]", "yarn", "k8s://far:443"])
def test_masters_of_other_kinds_are_left_to_spark(master: str) -> None:
    session.refuse_silent_master(master)


# --- which pyspark ------------------------------------------------------------------------------


def asked(*places: Path, code: str, site: bool = True) -> str:
    """Run Python code in a fresh interpreter; give what it printed."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (*places, CHECKOUT)))}
    command = [sys.executable, *([] if site else ["-S"]), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.strip()


REFUSE: Final = """
from consumers.cluster.spark.session import refuse_wrong_spark
try:
    refuse_wrong_spark()
except Exception as error:
    print(type(error).__name__, error)
"""


def test_the_pyspark_that_is_installed_will_do() -> None:
    session.refuse_wrong_spark()
    assert asked(code=REFUSE) == ""


@pytest.mark.parametrize("version", ["4.0.0", "3.4.1", "4.1.0.dev1"])
def test_another_pyspark_is_named_with_the_one_to_install(tmp_path: Path, version: str) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text(f"__version__ = {version!r}\n")
    assert asked(tmp_path, code=REFUSE) == (
        f"{MissingError.__name__} pyspark is {version}, the jars are for 3.5 (BigDL's are Scala 2.12); "
        "run: pip install pyspark==3.5.7"
    )


def test_without_pyspark_the_text_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "pyspark.py").write_text("raise ImportError('half a wheel')\n")
    found = asked(tmp_path, code=REFUSE)
    assert found.startswith(f"{MissingError.__name__} the cluster needs pyspark, which is not installed")
    assert found.endswith("; install it with: pip install pyspark==3.5.7")


# --- the workers' path ----------------------------------------------------------------------------

SHORTEN: Final = """
import sys
from consumers.cluster.spark.daemon import shorten_path
shorten_path()
print("\\n".join(sys.path))
"""


def archive(place: Path, *packages: str) -> Path:
    with zipfile.ZipFile(place, "w") as zipped:
        for package in packages:
            zipped.writestr(f"{package}/__init__.py", "")
    return place


def test_archives_are_taken_off_the_path_where_spark_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = [str(tmp_path / name) for name in ("spark-core.jar", "pyspark.zip", "py4j-src.zip", "one.egg", "folder")]
    monkeypatch.setattr(sys, "path", [*extra, *sys.path])
    monkeypatch.setitem(sys.path_importer_cache, extra[1], None)
    before = list(sys.path)
    daemon.shorten_path()
    assert sys.path == [place for place in before if not place.endswith(daemon.ARCHIVES)]
    assert extra[4] in sys.path
    assert extra[1] not in sys.path_importer_cache


def test_archives_stay_where_sparks_python_side_is_nowhere_else(tmp_path: Path) -> None:
    spark, java = archive(tmp_path / "pyspark.zip", "pyspark"), archive(tmp_path / "py4j.zip", "py4j")
    jar = archive(tmp_path / "spark-core.jar", "org")
    path = asked(jar, spark, java, code=SHORTEN, site=False).splitlines()
    assert {str(spark), str(java)} <= set(path)
    assert str(jar) not in path
