"""Comparison runs: one tier at a time, and what is said when a part dies in the middle."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from brokers.broker import Broker
from edgewise import processes
from edgewise.processes import Child
from tests.real import eventually

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(300)]

SHORT: Final = ("--set", "fleet.cameras=2", "--set", "fleet.rate_hz=20", "--set", "gateway.engine=onnx")


def command(scenario: str, *arguments: str, mqtt: Broker, kafka: Broker, runs: Path) -> list[str]:
    brokers = ("--mqtt", mqtt.address, "--kafka", kafka.address, "--runs", str(runs))
    return [sys.executable, "-m", "edgewise", "compare", scenario, *SHORT, *brokers, *arguments]


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_one_tier_at_a_time_gives_a_run_folder_for_each_and_one_comparison(
    mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    wanted = ("--set", "repeats=1", "--set", "fleet.duration_s=6", "--set", "cluster.engine=onnx")
    limits = ("--set", "limits.samples=0", "--set", "limits.late_ms=1000")
    asked = command("steady", *wanted, *limits, mqtt=mqtt, kafka=kafka, runs=tmp_path)
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=280)
    assert ran.returncode == 0, ran.stderr[-3000:]
    folder = Path(ran.stdout.strip().splitlines()[-1])
    compared = read(folder / "comparison.json")
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
        assert read(own / "summary.json")["run"] == one["folder"]
    assert "No tier is called better: 1 of at least 3 repeats." in ran.stdout


def grown(child: Child) -> list[psutil.Process]:
    """Give a run's parts by their command lines."""
    return [one for one in psutil.Process(child.pid).children(recursive=True) if "edgewise" in " ".join(one.cmdline())]


def test_a_part_that_dies_makes_the_run_invalid_and_is_its_first_reason(
    mqtt: Broker, kafka: Broker, tmp_path: Path
) -> None:
    wanted = ("--set", "placement=gateway", "--set", "fleet.duration_s=60")
    child = processes.start(
        command("laptop", *wanted, mqtt=mqtt, kafka=kafka, runs=tmp_path), name="compare", log=tmp_path / "log"
    )
    parts: list[psutil.Process] = []

    def under_way() -> bool:
        parts[:] = grown(child)
        logs = list(tmp_path.glob("*/logs/gateway.log"))
        return bool(logs) and "gateway: classifying" in logs[0].read_text(errors="replace") and len(parts) >= 4

    eventually(under_way, within_s=120)
    (gateway,) = (one for one in parts if "gateway" in one.cmdline()[3:4])
    os.kill(gateway.pid, signal.SIGKILL)
    assert child.wait(within_s=120) == 4, child.tail(lines=30)
    (folder,) = tmp_path.glob("*-laptop")
    summary = read(folder / "summary.json")
    assert summary["verdict"] == "INVALID"
    assert [reason["rule"] for reason in summary["reasons"]] == ["gateway died"]
    assert summary["reasons"][0]["found"] == "exit code -9"
    assert "gateway died" in (folder / "report.html").read_text()
    assert [one for one in parts if one.is_running()] == []
