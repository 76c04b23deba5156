"""Comparison runs: one tier at a time."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from brokers.broker import Broker
from tests.system import read_json

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

SHORT: Final = ("--set", "fleet.cameras=2", "--set", "fleet.rate_hz=20", "--set", "gateway.engine=onnx")


def command(scenario: str, *arguments: str, mqtt: Broker, kafka: Broker, runs: Path) -> list[str]:
    brokers = ("--mqtt", mqtt.address, "--kafka", kafka.address, "--runs", str(runs))
    return [sys.executable, "-m", "edgewise", "compare", scenario, *SHORT, *brokers, *arguments]


def test_one_tier_at_a_time_gives_a_run_folder_for_each_and_one_comparison(
    mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    wanted = ("--set", "repeats=1", "--set", "fleet.duration_s=6", "--set", "cluster.engine=onnx")
    limits = ("--set", "limits.samples=0", "--set", "limits.late_ms=1000")
    asked = command("steady", *wanted, *limits, mqtt=mqtt, kafka=kafka, runs=tmp_path)
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stderr[-3000:]
    folder = Path(ran.stdout.strip().splitlines()[-1])
    compared = read_json(folder / "comparison.json")
    assert [(one["tiers"], one["verdict"]) for one in compared["runs"]] == [
        (["gateway"], "VALID"),
        (["cluster"], "VALID"),
    ]
    assert compared["verdict"] == "VALID"
    assert compared["no_winner"] == "1 of at least 3 repeats"
    (p50,) = (one for one in compared["figures"] if one["name"] == "latency p50")
    assert p50["tiers"]["gateway"]["median"] < p50["tiers"]["cluster"]["median"]
    assert p50["better"] is None
    for one in compared["runs"]:
        own = folder / one["folder"]
        kept = {path.name for path in own.iterdir()}
        assert {"summary.json", "frames.parquet", "manifest.json", "report.html", "logs"} <= kept
        assert read_json(own / "summary.json")["run"] == one["folder"]
    assert "No tier is called better: 1 of at least 3 repeats." in ran.stdout
