"""Kill what a cluster consists of while frames travel: each frame has its result all the same, and counts once.

Kafka has the frames from the start, so that a cluster is always at work when something is killed.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

from brokers.broker import Broker
from brokers.kafka.embedded import kafka as embedded_kafka
from edgewise import lag, processes
from edgewise.processes import Child
from edgewise.topics import FRAMES as TOPIC
from edgewise.topics import PARTITIONS
from tests.real import eventually
from tests.system import RUN, Answers, Yard, await_ready, cluster, kafka_alone, printed

FRAMES: Final = int(os.environ.get("EDGEWISE_FAULT_FRAMES", "2000"))
CAMERAS: Final = 4
WITHIN_S: Final = 300.0
SMALL: Final = ("--batch-max", str(FRAMES // 20))
"""Micro-batches so small that there are many between which something may die."""

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(900)]


def java_of(child: Child, *, main: str) -> list[psutil.Process]:
    """Find the Javas below a cluster that run this class."""
    found = []
    for one in psutil.Process(child.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # also what has ended and is not buried yet
            found += [one] if any(main in word for word in one.cmdline()) else []
    return found


@pytest.fixture
def own_folders() -> Iterator[None]:
    """Remove what the workers of ``local-cluster`` keep of their executors: beside Spark, wherever that is."""
    import pyspark

    work = Path(pyspark.__file__).parent / "work"
    before = set(work.glob("*"))
    yield
    for folder in set(work.glob("*")) - before:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.usefixtures("own_folders")
def test_drivers_and_an_executor_are_killed_and_no_frame_is_lost(tmp_path: Path) -> None:
    with kafka_alone(tmp_path) as broker, closing(Answers(broker.address)) as answers:
        yard = Yard(broker.address, run=RUN, frames=FRAMES // CAMERAS, cameras=CAMERAS)
        yard.send()
        yard.close()
        driver = cluster(broker.address, tmp_path, *SMALL, "--master", "local-cluster[2,1,1024]")
        try:
            answers.wait(RUN, frames=FRAMES // 10, within_s=WITHIN_S)
            executors = java_of(driver, main="CoarseGrainedExecutorBackend")
            assert len(executors) == 2
            executors[0].kill()
            answers.wait(RUN, frames=FRAMES // 3, within_s=WITHIN_S)
            assert driver.running(), driver.tail(lines=40)

            # A driver's Python and Java killed together: the lock is free at once.
            driver.kill()
            driver = cluster(broker.address, tmp_path, *SMALL, log="second")
            answers.wait(RUN, frames=FRAMES * 2 // 3, within_s=WITHIN_S)

            # Python alone: its Java has the checkpoint's lock as long as it lives, here until it is let go on.
            (java,) = java_of(driver, main="SparkSubmit")
            java.suspend()
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait(within_s=10)
            early = cluster(broker.address, tmp_path, *SMALL, log="early")
            assert early.wait(within_s=60) == 2
            assert " is in use by another driver; " in early.log.read_text()
            java.resume()
            java.wait(30)
            driver.kill()
            driver = cluster(broker.address, tmp_path, *SMALL, log="third")
            answers.wait(RUN, frames=FRAMES, within_s=WITHIN_S)
            assert driver.stop(within_s=60) == 0
        finally:
            driver.kill()
        assert len(answers.frames(RUN)) == FRAMES
        summary = yard.counted(tmp_path)
        tier = summary.tiers["cluster"]
        assert (summary.verdict, tier.results, tier.missing) == ("VALID", FRAMES, 0), summary
        assert tier.duplicates == len(answers.of(RUN)) - FRAMES
        assert lag.total(lag.of(broker.address, "cluster")) == 0


def test_a_kafka_that_comes_late_goes_and_comes_back_costs_no_frame(tmp_path: Path) -> None:
    broker = embedded_kafka(tmp_path / "kafka")
    child = cluster(broker.address, tmp_path, *SMALL)
    try:
        eventually(lambda: "; waiting for it" in child.log.read_text(), within_s=60)
        broker.start()
        await_ready(child)
        assert len(lag.of(broker.address, "cluster", topic=TOPIC)) == PARTITIONS, "the topic is made"
        yard = Yard(broker.address, run=RUN, frames=FRAMES // CAMERAS, cameras=CAMERAS)
        with closing(Answers(broker.address)) as answers:
            yard.send(range(yard.plan.frames // 2))
            answers.wait(RUN, frames=FRAMES // 10, within_s=WITHIN_S)
            broker.kill()
            eventually(lambda: "starting over from the checkpoint" in child.log.read_text(), within_s=90)
            eventually(lambda: child.log.read_text().count("; waiting for it") == 2, within_s=60)
            broker.start()
            yard.send(range(yard.plan.frames // 2, yard.plan.frames))
            yard.close()
            answers.wait(RUN, frames=FRAMES, within_s=WITHIN_S)
        assert child.stop(within_s=60) == 0
        assert "Traceback" not in child.log.read_text()
        assert printed(child)["frames"] >= FRAMES
        summary = yard.counted(tmp_path)
        assert (summary.verdict, summary.tiers["cluster"].missing) == ("VALID", 0), summary
    finally:
        child.kill()
        broker.stop()


def test_ctrl_c_ends_a_cluster_that_waits_for_kafka(tmp_path: Path) -> None:
    child = cluster(embedded_kafka(tmp_path / "kafka").address, tmp_path)
    try:
        eventually(lambda: "; waiting for it" in child.log.read_text(), within_s=60)
        child.send(signal.SIGINT)
        assert child.wait(within_s=20) == 130
        assert "Traceback" not in child.log.read_text()
        assert processes.birth(child.pid) is None
    finally:
        child.kill()


@pytest.mark.parametrize("moment", ["starting Spark", "loading the model"])
def test_ctrl_c_ends_a_cluster_that_is_still_setting_up(moment: str, kafka: Broker, tmp_path: Path) -> None:
    child = cluster(kafka.address, tmp_path)
    try:
        eventually(lambda: moment in child.log.read_text(), within_s=120)
        below = eventually(psutil.Process(child.pid).children, within_s=60)
        child.send(signal.SIGINT)
        assert child.wait(within_s=60) == 130
        assert "Traceback" not in child.log.read_text()
        # A Java that had not come up yet first does, then finds its stdin closed.
        assert psutil.wait_procs(below, timeout=60)[1] == []
    finally:
        child.kill()
