"""Several bridges share the frames; one that leaves in order, and one that is killed, lose none."""

import signal
from pathlib import Path

import pytest

from tests.real import eventually
from tests.system import accounted, fates, running, sending

FRAMES = 2400

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(400)]


def test_bridges_that_share_come_and_go_without_a_loss(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        bridges = [
            system.start(
                "bridge", "--share", "--client-id", f"bridge-{number}", "--format", "json", log=f"bridge-{number}"
            )
            for number in range(3)
        ]
        for bridge in bridges:
            eventually(lambda one=bridge: "carrying" in system.said(one), within_s=60)  # type: ignore[misc]
        system.start("gateway", "--source", "kafka")
        fleet = system.fleet(frames=FRAMES, rate_hz=300)
        sending(system)
        bridges[0].send(signal.SIGTERM)  # leaves in order: drains its session and ends it
        eventually(lambda: not bridges[0].running(), within_s=20)
        assert system.account(bridges[0])["frames"] > 0
        bridges[1].kill()  # its session keeps what was dealt to it, for its successor
        system.start("bridge", "--share", "--client-id", "bridge-1", "--format", "json", log="bridge-1-again")
        summary = accounted(system, ledger, fleet, within_s=180)
        assert (summary.verdict, summary.tiers["gateway"].missing) == ("VALID", 0), summary
        assert fates(system) == {"answered": FRAMES}
