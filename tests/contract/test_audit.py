"""A real run, audited as it is and after somebody has changed it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from brokers.broker import Broker
from compare.audits import audit
from compare.audits.audit import Asked, Audit
from compare.reports import report
from compare.runs import runfolder
from edgewise.errors import ConfigError
from edgewise.messages import Codec

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

SETS: Final = (
    *("placement=gateway", "gateway.engine=onnx", "tariff=example", "limits.late_ms=1000"),
    *("fleet.codec=jpeg", "fleet.cameras=4", "fleet.rate_hz=25", "fleet.duration_s=6"),
)


@pytest.fixture(scope="module")
def ran(mqtt: Broker, kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a run of 600 frames on the gateway."""
    runs = tmp_path_factory.mktemp("runs")
    brokers = ("--mqtt", mqtt.address, "--kafka", kafka.address, "--runs", str(runs))
    sets = [word for one in SETS for word in ("--set", one)]
    done = edgewise("compare", "laptop", *sets, *brokers)
    assert done.returncode in {0, 4}, done.stderr[-3000:]  # a busy machine's run is as good to audit
    return Path(done.stdout.strip().splitlines()[-1])


@pytest.fixture
def folder(ran: Path, tmp_path: Path) -> Path:
    """Give a copy that may be changed."""
    return Path(shutil.copytree(ran, tmp_path / ran.name))


def edgewise(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def change(folder: Path, name: str, change: Callable[[list[Any]], None]) -> None:
    """Change a column of the run's table."""
    path = folder / "frames.parquet"
    found = pq.read_table(path)
    values = found[name].to_pylist()
    change(values)
    place = found.schema.get_field_index(name)
    pq.write_table(
        found.set_column(place, found.schema.field(name), pa.array(values, found.schema.field(name).type)), path
    )


def forge(folder: Path) -> None:
    """Note the checksums of what is there now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"] = {name: runfolder.sha256(folder / name) for name in manifest["files"]}
    path.write_text(json.dumps(manifest))


def states(found: Audit) -> dict[str, str]:
    return {one.check: one.state for one in found.findings}


def test_an_honest_run_passes_every_check(folder: Path) -> None:
    done = edgewise("audit", str(folder), "--format", "json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = Audit.model_validate_json(done.stdout)
    assert found.verdict == "PASSED"
    assert states(found) == dict.fromkeys(
        (
            *("files", "counts, gateway", "truth", "same labels, gateway", "one image, onnx"),
            "shuffled truth, gateway",
        ),
        "passed",
    )
    (labels,) = (one for one in found.findings if one.check.startswith("same labels"))
    assert labels.numbers["frames"] == 600
    assert "through JPEG" in labels.found


def test_a_changed_table_fails_by_its_name(folder: Path) -> None:
    change(folder, "latency_ns", lambda values: values.__setitem__(0, 1))
    done = edgewise("audit", str(folder))
    assert done.returncode == 4
    assert "changed since the run: frames.parquet" in done.stdout
    assert done.stdout.startswith(" FAILED   audit of ")


def test_a_changed_label_fails_even_under_a_forged_checksum(folder: Path) -> None:
    wrong = pq.read_table(folder / "frames.parquet").column("correct").to_pylist().index(False)

    def other(labels: list[int]) -> None:
        truth = pq.read_table(folder / "frames.parquet").column("truth").to_pylist()[wrong]
        labels[wrong] = next(one for one in range(10) if one not in {labels[wrong], truth})

    change(folder, "label", other)
    forge(folder)
    found = audit.run(folder, Asked())
    assert found.verdict == "FAILED"
    assert [check for check, state in states(found).items() if state == "failed"] == ["same labels, gateway"]
    (labels,) = (one for one in found.findings if one.state == "failed")
    assert labels.numbers["same"] == 599
    assert len(labels.frames) == 1


def test_a_changed_truth_fails_even_under_a_forged_checksum(folder: Path) -> None:
    change(folder, "truth", lambda values: values.__setitem__(0, (values[0] + 1) % 10))
    forge(folder)
    assert states(audit.run(folder, Asked()))["truth"] == "failed"


def test_a_folder_of_a_ledger_alone_is_audited_without_checksums(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    found = audit.run(folder, Asked(frames=50, codec=Codec.JPEG))
    assert found.verdict == "PASSED"
    assert states(found)["files"] == "not checked"


def test_another_model_than_the_runs_is_refused(folder: Path) -> None:
    done = edgewise("audit", str(folder), "--model", "cifar_cnn")
    assert done.returncode == 2
    (line,) = (one for one in done.stderr.splitlines() if one.startswith("edgewise: "))
    assert line.startswith("edgewise: the gateway ran resnet20@")
    assert line.endswith("give the model file of the run: --model FILE")


def test_an_engine_that_is_not_here_is_refused(folder: Path) -> None:
    change(folder, "engine", lambda values: values.__setitem__(slice(None), ["torch"] * len(values)))
    forge(folder)
    with pytest.raises(ConfigError, match="--engine 'torch' is not known"):
        audit.run(folder, Asked())


def test_its_money_and_energy_are_modelled_by_the_tariff(folder: Path) -> None:
    summary = report.read(folder)
    assert summary.tariff is not None
    assert (summary.tariff.name, summary.tariff.currency) == ("example", "EUR")
    each = summary.tiers["gateway"].per_1000_correct
    assert each.money is not None
    assert each.money > 0
    assert each.energy_j is not None
    assert each.energy_j > 0
    assert runfolder.manifest(folder)["scenario"]["tariff"]["gateway"]["price"] == 250.0
    assert "modelled by tariff example" in (folder / "report.html").read_text()
    assert "Modelled by the tariff example" in edgewise("report", str(folder)).stdout.replace("\n", " ")
