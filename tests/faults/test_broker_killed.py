"""Comparison runs whose own broker dies: the verdict names it, and not the parts that stood about without it."""

import sys
from pathlib import Path

import psutil
import pytest

from edgewise import processes
from edgewise.errors import InvalidRunError
from edgewise.summary import Summary
from tests.faults.test_sabotage import SHORT
from tests.real import eventually
from tests.system import READY_S

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(300)]


def test_an_mqtt_broker_that_dies_is_the_first_reason(tmp_path: Path) -> None:
    sets = [word for name, value in {**SHORT, "fleet.duration_s": 120}.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "edgewise", "compare", "laptop", *sets, "--runs", str(tmp_path)]
    run = processes.start([*command, "--mqtt-broker", "mosquitto"], name="compare", log=tmp_path / "compare.log")
    try:
        eventually(lambda: "; sending" in said(tmp_path, "fleet"), within_s=READY_S)
        (broker,) = (one for one in psutil.Process(run.pid).children() if "mosquitto" in one.name())
        broker.kill()
        assert run.wait(within_s=READY_S) == InvalidRunError.exit_code, run.tail(lines=40)
    finally:
        run.stop(within_s=15)
    (folder,) = tmp_path.glob("*-laptop")
    found = Summary.model_validate_json((folder / "summary.json").read_bytes())
    (cause,) = found.reasons
    assert (cause.rule, cause.found) == ("MQTT broker died", "exit code -9")
    assert "see its log, logs/mqtt-broker.log" in cause.next
    assert (folder / "logs" / "mqtt-broker.log").exists()
    assert "MQTT broker died" in (folder / "report.html").read_text()


def said(runs: Path, part: str) -> str:
    """Give what a part of the only run has said so far."""
    logs = list(runs.glob(f"*-laptop/logs/{part}.log"))
    return logs[0].read_text(errors="replace") if logs else ""
