"""Searches and sweeps on real parts: each as short as it can be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from brokers.broker import Broker
from edgewise import addresses
from tests.system import read_json

pytestmark = [pytest.mark.brokers, pytest.mark.timeout(180)]


def ran(scenario: str, *sets: str, mqtt: Broker, kafka: Broker, runs: Path) -> tuple[Path, str]:
    """Run a scenario with the gateway alone; give its folder and what it printed."""
    short = ("placement=gateway", "gateway.engine=onnx", "gateway.cores=[]", "limits.late_ms=2000", *sets)
    command = [sys.executable, "-m", "edgewise", "compare", scenario, "--runs", str(runs)]
    command += ["--mqtt", mqtt.address, "--kafka", kafka.address, *(word for one in short for word in ("--set", one))]
    # One port for all parts: a run that let them have it would end with the second.
    env = os.environ | {"EDGEWISE_METRICS_PORT": str(addresses.free_port())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return Path(done.stdout.strip().splitlines()[-1]), done.stdout


def test_a_search_that_may_go_no_further_says_at_least(mqtt: Broker, kafka: Broker, tmp_path: Path) -> None:
    short = ("search.most_times=1", "limits.backlog_over_s=3", "fleet.duration_s=10", "deadline_ms=5000")
    folder, said = ran("capacity", *short, mqtt=mqtt, kafka=kafka, runs=tmp_path)
    gateway = read_json(folder / "capacity.json")["tiers"]["gateway"]
    assert (gateway["capacity_hz"], gateway["bounded"], gateway["confirmed"]) == (100, False, True)
    step, again = gateway["steps"]
    assert step["sustained"]
    assert again["sustained"]
    own = read_json(folder / step["folder"] / "summary.json")
    assert own["generator"]["offered_hz"] == 100
    assert own["generator"]["ceiling_hz"] > 100 / 0.7
    assert "The gateway sustains at least 100.0 frames/s, the load of 10.0 cameras" in said


def test_a_sweep_runs_each_value(mqtt: Broker, kafka: Broker, tmp_path: Path) -> None:
    values = ('sweep={"gateway.threads"=[1, 2]}', "fleet.duration_s=4")
    folder, said = ran("laptop", *values, mqtt=mqtt, kafka=kafka, runs=tmp_path)
    found = read_json(folder / "sweep.json")
    assert [point["values"] for point in found["points"]] == [{"gateway.threads": 1}, {"gateway.threads": 2}]
    for point in found["points"]:
        (run,) = point["comparison"]["runs"]
        threads = read_json(folder / run["folder"] / "manifest.json")["scenario"]["gateway"]["threads"]
        assert threads == point["values"]["gateway.threads"]
    assert "2 points" in said
