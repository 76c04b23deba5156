"""The cluster against a real Kafka: every frame answered once, the group and the accounts true, the work shared."""

import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psutil
import pytest
from kafka.admin import KafkaAdminClient

from brokers.broker import Broker
from consumers.cluster.spark.progress import STEPS
from edgewise import account, addresses, java, lag, processes, topics
from edgewise import kafka as clients
from edgewise.account import Closing, Opening
from edgewise.messages import Result, Rule, Tier, encode_frame
from edgewise.processes import Child
from edgewise.topics import FRAMES
from models import card
from models.engine import model_file
from tests.real import eventually
from tests.system import Answers, Yard, await_ready, cluster, printed

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(400)]

EACH: Final = 100
"""Frames of each of four cameras."""
IDENTITY: Final = card.read(model_file("resnet20")).identity


def named(what: str) -> str:
    """Name a run as no other test does."""
    return f"{what}-{uuid4().hex[:8]}"


@dataclass
class Story:
    """What one cluster did, from its start to its end."""

    run: str
    results: Sequence[Result] = ()
    account: dict[str, Any] = field(default_factory=dict)
    said: str = ""
    exit_code: int | None = None
    left: Sequence[psutil.Process] = ()
    """Of the processes that it had started, those that outlive it."""
    lag_frames: int | None = None
    """Of its group, when it was gone."""


def ended(child: Child, story: Story, how: signal.Signals) -> None:
    """Ask a cluster to stop; take down what became of it."""
    family = psutil.Process(child.pid).children(recursive=True)
    assert any("java" in one.name() for one in family), family
    child.send(how)
    story.exit_code = child.wait(within_s=60)
    story.said = child.log.read_text()
    story.account = printed(child) if story.exit_code is not None else {}
    _, story.left = psutil.wait_procs(family, timeout=10)


@pytest.fixture(scope="module")
def answers(kafka: Broker) -> Iterator[Answers]:
    with closing(Answers(kafka.address)) as opened:
        yield opened


# --- two tasks, from where the group got to ---------------------------------------------------------


@pytest.fixture(scope="module")
def usual(kafka: Broker, answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Put frames, good and damaged, into Kafka before and while a cluster runs; end it by Ctrl-C."""
    story, folder = Story(named("usual")), tmp_path_factory.mktemp("usual")
    yard = Yard(kafka.address, run=story.run, frames=EACH)
    yard.send(range(EACH // 4))
    for wire in broken(yard):
        yard.write(f"broken-{story.run}", wire)
    child = cluster(kafka.address, folder, "--run", story.run)
    try:
        await_ready(child)
        yard.send(range(EACH // 4, EACH))
        yard.close()
        answers.wait(story.run, frames=4 * EACH)
        eventually(lambda: lag.total(lag.of(kafka.address, "cluster")) == 0, within_s=30)
        eventually(lambda: len(answers.rejected(f"broken-{story.run}")) == len(broken(yard)), within_s=30)
        ended(child, story, signal.SIGINT)
    finally:
        child.kill()
    story.results = answers.of(story.run)
    return story


def broken(yard: Yard) -> list[bytes]:
    whole = encode_frame(yard.frame(0, 0))
    return [b"", b"GIF89a", whole[:-1], whole[:2] + bytes(8) + whole[10:], whole]


def test_every_frame_put_there_before_and_meanwhile_has_exactly_one_result(usual: Story) -> None:
    counts = Counter((one.camera, one.number) for one in usual.results)
    assert counts == {(f"yard-{camera}", number): 1 for camera in range(4) for number in range(EACH)}
    assert {(one.tier, one.engine, one.model) for one in usual.results} == {(Tier.CLUSTER, "onnx", IDENTITY)}


def test_a_result_has_all_moments_in_their_order(usual: Story) -> None:
    for one in usual.results:
        assert one.bridged_ns is not None
        assert one.appended_ns is not None
        assert one.sent_ns <= one.bridged_ns <= one.received_ns <= one.started_ns <= one.inferred_ns
        assert one.appended_ns <= one.received_ns
        assert one.size_bytes > 32 * 32 * 3


def test_what_is_no_frame_is_rejected_by_its_rule_and_says_where_it_stood(usual: Story, answers: Answers) -> None:
    rejected = answers.rejected(f"broken-{usual.run}")
    assert [one["rule"] for one in rejected] == [Rule.EMPTY, Rule.MAGIC, Rule.CHECK, Rule.SCHEMA, Rule.CAMERA]
    assert {one["by"] for one in rejected} == {"cluster"}
    assert all(one["from"].startswith(f"kafka {FRAMES}/") for one in rejected)
    assert all(list(one) == ["rule", "reason", "size_bytes", "sha256", "from", "by"] for one in rejected)


def test_the_model_is_loaded_before_the_first_frame_and_its_rehearsal_is_rejected_nowhere(
    usual: Story, answers: Answers
) -> None:
    assert usual.said.index("loading the model") < usual.said.index("cluster: ready")
    assert answers.rejected("warm-up") == []


def test_the_group_is_at_the_end_for_kafkas_own_tools(usual: Story, kafka: Broker) -> None:
    assert usual.exit_code is not None
    with closing(KafkaAdminClient(bootstrap_servers=kafka.address)) as admin:
        shown = {
            place.partition: said.offset for place, said in admin.list_group_offsets(["cluster"])["cluster"].items()
        }
    found = lag.of(kafka.address, "cluster")
    assert shown == {one.partition: one.committed for one in found}
    assert all(one.end for one in found if shown[one.partition])


def test_opening_and_closing_account_say_what_it_ran_on_and_what_it_did(usual: Story, kafka: Broker) -> None:
    with closing(clients.consumer(kafka.address, topics=[topics.RUNS])) as reader:
        found = [account.decode(record.value) for record in reader.take(limit=10_000, wait_s=10)]
    mine = [
        one for one in found if isinstance(one, Opening | Closing) and one.run == usual.run and one.part == "cluster"
    ]
    opening, closing_account = mine
    assert isinstance(opening, Opening)
    assert isinstance(closing_account, Closing)
    assert opening.name == closing_account.name == "cluster"
    assert (opening.facts["engine"], opening.facts["model"]) == ("onnx", IDENTITY)
    assert 1 < opening.facts["startup_s"] < 200
    summary = closing_account.summary
    assert summary == usual.account
    assert (summary["master"], summary["tasks"], summary["cores"]) == ("local[2]", 2, 2)
    assert summary["frames"] >= len(usual.results) + 5
    assert summary["left_to_others"] == 0, "what is rejected is not left"
    assert 1 <= summary["batches"] <= summary["frames"]
    assert set(summary["micro_batch_ms"]) == set(STEPS.values())
    assert all(step is not None for step in summary["micro_batch_ms"].values())
    assert (summary["cpu_s"] > 1, summary["memory_bytes"] > 100_000_000) == (True, True)


def spans(results: Sequence[Result]) -> set[tuple[int, int, str]]:
    """Give each call of an engine: its start, its end, its worker."""
    return {(one.started_ns, one.inferred_ns, one.worker) for one in results}


def overlaps(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Give the workers of each two calls that were under way at the same time."""
    calls = combinations(sorted(spans(results)), 2)
    return [(one[2], other[2]) for one, other in calls if other[0] < one[1]]


def test_two_tasks_work_at_the_same_time_in_workers_of_their_own(usual: Story) -> None:
    assert {one.tasks for one in usual.results} == {2}
    found = overlaps(usual.results)
    assert found
    assert all(one != other for one, other in found), "a worker does one thing at a time"


def test_ctrl_c_ends_it_with_130_and_leaves_nothing_behind(usual: Story) -> None:
    assert (usual.exit_code, usual.left) == (130, [])
    assert "Traceback" not in usual.said


# --- one task, where the group got to; SIGTERM ------------------------------------------------------


@pytest.fixture(scope="module")
def single(kafka: Broker, answers: Answers, usual: Story, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Put frames into Kafka while no cluster runs; start one without a checkpoint, with one task."""
    story, folder = Story(named("single")), tmp_path_factory.mktemp("single")
    assert usual.exit_code is not None
    yard = Yard(kafka.address, run=story.run, frames=EACH)
    yard.send()
    yard.close()
    child = cluster(kafka.address, folder, "--tasks", "1")
    try:
        answers.wait(story.run, frames=4 * EACH, within_s=300)
        ended(child, story, signal.SIGTERM)  # while Spark still tells of the batch whose results came just now
    finally:
        child.kill()
    story.lag_frames = lag.total(lag.of(kafka.address, "cluster"))
    story.results = answers.of(story.run)
    return story


def test_without_a_checkpoint_it_goes_on_where_the_group_got_to(single: Story, usual: Story, answers: Answers) -> None:
    assert len(single.results) == 4 * EACH
    assert len(answers.of(usual.run)) == 4 * EACH, "nothing was done again"


def test_one_task_does_one_thing_at_a_time(single: Story) -> None:
    assert {one.tasks for one in single.results} == {1}
    assert single.account["tasks"] == 1
    assert overlaps(single.results) == []


def test_the_last_batch_is_in_its_account_and_told_to_the_group(single: Story) -> None:
    assert (single.account["frames"], single.lag_frames) == (4 * EACH, 0)


def test_sigterm_ends_it_with_0_and_leaves_nothing_behind(single: Story) -> None:
    assert (single.exit_code, single.left) == (0, [])
    assert "Traceback" not in single.said


# --- from the oldest frame, more tasks than partitions ----------------------------------------------


def test_from_the_earliest_frame_and_with_partitions_cut_into_tasks(
    kafka: Broker, answers: Answers, single: Story, tmp_path: Path
) -> None:
    child = cluster(kafka.address, tmp_path, "--start", "earliest", "--tasks", "8")
    try:
        again = eventually(lambda: found if len(found := answers.of(single.run)) >= 8 * EACH else [], within_s=300)
        # One camera is one partition: only if that is cut do two workers share its frames.
        yard = Yard(kafka.address, run=named("cut"), frames=4 * EACH, cameras=1)
        yard.send()
        yard.close()
        results = answers.wait(yard.plan.run, frames=4 * EACH)
        assert child.stop(within_s=60) == 0
    finally:
        child.kill()
    assert Counter((one.camera, one.number) for one in again) == {
        (f"yard-{camera}", number): 2 for camera in range(4) for number in range(EACH)
    }
    assert overlaps(results)
    assert {one.tasks for one in results} == {2}, "no more than there are cores"


# --- only what comes from now on ----------------------------------------------------------------------


def test_from_the_latest_frame_old_ones_are_nobodys(kafka: Broker, answers: Answers, tmp_path: Path) -> None:
    old, new = named("old"), named("new")
    before, after = (Yard(kafka.address, run=run, frames=10) for run in (old, new))
    before.send()
    before.close()
    child = cluster(kafka.address, tmp_path, "--start", "latest", "--master", "local[1]")
    try:
        await_ready(child)
        after.send()
        after.close()
        results = answers.wait(new, frames=40)
        assert child.stop(within_s=60) == 0
    finally:
        child.kill()
    assert answers.of(old) == []
    assert {one.tasks for one in results} == {1}
    assert (printed(child)["tasks"], printed(child)["cores"]) == (1, 1)


# --- a standalone master with two workers ------------------------------------------------------------


@pytest.fixture
def master(tmp_path: Path) -> Iterator[str]:
    """Give a standalone master on the loopback, with two workers of one core and one GB each."""
    import pyspark

    home = Path(pyspark.__file__).parent
    own = {"SPARK_HOME": str(home), "JAVA_HOME": str(java.find().home), "SPARK_LOCAL_IP": addresses.LOOPBACK}
    port = addresses.free_port()
    url = f"spark://{addresses.LOOPBACK}:{port}"
    here = ("--host", addresses.LOOPBACK, "--webui-port", "0")
    deploy = "org.apache.spark.deploy"
    commands = [[f"{deploy}.master.Master", "--port", str(port), *here]]
    for name in ("first", "second"):
        size = ("--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / name))
        commands.append([f"{deploy}.worker.Worker", *here, *size, url])
    children = [
        processes.start(
            [str(home / "bin" / "spark-class"), *command],
            name=command[0],
            log=tmp_path / f"{number}.log",
            env=os.environ | own,
        )
        for number, command in enumerate(commands)
    ]
    try:
        registered = children[0].log
        eventually(lambda: registered.read_text().count("Registering worker") == 2, within_s=120)
        yield url
    finally:
        processes.stop_all(children, within_s=15)


def test_a_standalone_master_spreads_the_frames_over_its_executors(
    kafka: Broker, answers: Answers, master: str, tmp_path: Path
) -> None:
    run = named("standalone")
    yard = Yard(kafka.address, run=run, frames=5 * EACH)
    child = cluster(kafka.address, tmp_path, "--master", master, "--start", "latest", "--run", run)
    try:
        await_ready(child)
        yard.send()
        yard.close()
        results = answers.wait(run, frames=20 * EACH)
        assert child.stop(within_s=60) == 0
    finally:
        child.kill()
    assert len(results) == 20 * EACH
    assert {one.tasks for one in results} == {2}
    executors = {one.worker.partition("/")[0] for one in results}
    assert len(executors) == 2, executors
    assert overlaps(results)
    summary = printed(child)
    assert (summary["master"], summary["tasks"], summary["cores"]) == (master, 2, 2)
    assert (summary["cpu_s"], summary["memory_bytes"]) == (None, None), "what runs elsewhere is not measured"
