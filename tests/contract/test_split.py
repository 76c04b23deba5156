"""A comparison run that divides its frames: each is answered by one tier, once, and the other leaves it."""

import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq
import pytest

from brokers.broker import Broker
from compare.reports import sentences
from compare.runs.observing import TRACES, Observing
from consumers.cluster.jvm import compile as cluster
from edgewise import addresses, split, topics
from edgewise import kafka as clients
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.errors import FrameError
from edgewise.kafka import Record
from edgewise.messages import Result, Tier, decode_result
from tests.observing import prometheus
from tests.system import read_json

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

SEED: Final = 11
CAMERAS: Final = 3
FOLLOWED: Final = 40
"""One frame in so many, of 160 of each camera."""
LOOSE: Final = ("late_ms=60000", "backlog_share=1000", "starved_s=600", "clock_share=1")
"""It is of whose frames are answered, and not of how soon."""


def ran(engine: str, *, mqtt: Broker, kafka: Broker, runs: Path, ports: int) -> tuple[Path, str]:
    """Run a scenario that divides its frames, as a demo is run; give its folder and what it printed."""
    sets = [
        *("placement=split", "gateway.engine=onnx", f"cluster.engine={engine}", f"fleet.seed={SEED}"),
        *(f"fleet.cameras={CAMERAS}", "fleet.rate_hz=20", "fleet.duration_s=8", "deadline_ms=60000"),
        *(f"limits.{one}" for one in LOOSE),
    ]
    command = [sys.executable, "-m", "edgewise", "compare", "laptop", "--runs", str(runs)]
    command += ["--mqtt", mqtt.address, "--kafka", kafka.address, *(word for one in sets for word in ("--set", one))]
    command += ["--metrics-port", str(ports), "--trace-every", str(FOLLOWED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return Path(done.stdout.strip().splitlines()[-1]), done.stdout


def answers(kafka: Broker, run: str) -> list[Result]:
    """Read all results of a run, copies too."""
    with closing(clients.consumer(kafka.address, topics=[topics.RESULTS])) as reader:
        records: list[Record] = []
        while some := reader.take(limit=10_000, wait_s=3):
            records += some
    return [result for record in records if (result := decoded(record)) is not None and result.run == run]


def decoded(record: Record) -> Result | None:
    try:
        return decode_result(record.value)
    except FrameError:
        return None


def free_ports() -> Observing:
    """Find a port for each part, one after the other."""
    while True:
        found = Observing(port=addresses.free_port())
        if all(addresses.is_free(port) for port in found.ports().values()):
            return found


@pytest.mark.parametrize("engine", ["onnx", "bigdl"])
def test_each_frame_is_answered_by_its_own_tier_and_left_by_the_other(
    engine: str, mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    if engine == "bigdl":
        pytest.importorskip("bigdl", reason=f"no BigDL; install it with: {cluster.INSTALL_BIGDL}")
    ports = free_ports()
    with prometheus(tmp_path / "prometheus", ports.ports()) as watched:
        began_s = SystemClock().now_ns() / SECOND_NS
        folder, said = ran(engine, mqtt=mqtt, kafka=kafka, runs=tmp_path, ports=ports.port)
        assert watched.without_data(from_s=began_s, to_s=SystemClock().now_ns() / SECOND_NS) == []
    summary, parts = read_json(folder / "summary.json"), read_json(folder / "manifest.json")["parts"]
    frames = summary["frames"]["scheduled"]
    found = answers(kafka, folder.name)
    assert set(Counter((one.camera, one.number) for one in found).values()) == {1}
    assert len(found) == frames
    assert all(one.tier is split.owner(one.camera, one.number, seed=SEED) for one in found)
    of_tier = Counter(one.tier for one in found)
    assert min(of_tier[tier] for tier in Tier) > frames / 3
    assert (summary["verdict"], summary["split_seed"], summary["paired"]) == ("VALID", SEED, None)
    for tier in Tier:
        counted, (account,) = summary["tiers"][tier], parts[tier]["accounts"]
        assert (counted["results"], counted["missing"], counted["rejected"]) == (of_tier[tier], 0, 0)
        # The cluster's first start on a Kafka begins with the frames of earlier runs, if others were there.
        others = account["frames"] - frames if tier is Tier.CLUSTER else 0
        assert 0 <= account["left_to_others"] - (frames - of_tier[tier]) <= others
        assert {"--split", str(SEED)} <= set(parts[tier]["command"])
    assert parts["cluster"]["accounts"][0]["frames"] >= frames
    assert pq.read_table(folder / "frames.parquet").num_rows == frames
    assert (folder / TRACES).read_text().count('"name":"frame"') == frames // FOLLOWED
    assert sentences.SPLIT in said
    assert sentences.SPLIT in (folder / "report.html").read_text()
