"""Several bridges share the frames; one that leaves in order, and one that is killed, lose none."""

import re
import signal
import urllib.request
from pathlib import Path

import pytest

from edgewise import addresses
from tests.real import eventually
from tests.system import RUN, accounted, fates, running, sending

FRAMES = 2400

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(400)]


def named(said: str) -> str:
    """Find the name that a bridge took."""
    return str(re.findall(r"carrying .* as (\S+)", said)[0])


def test_bridges_that_share_come_and_go_without_a_loss(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        ledger = system.ledger()
        alike = ("--share", "--names", str(tmp_path / "names"), "--format", "json", "--run", RUN)
        ports = [addresses.free_port() for _ in range(3)]
        bridges = [
            system.start("bridge", *alike, "--metrics-port", str(port), log=f"bridge-{number}")
            for number, port in enumerate(ports)
        ]
        for bridge in bridges:
            eventually(lambda one=bridge: "carrying" in system.said(one), within_s=60)  # type: ignore[misc]
        for bridge, port in zip(bridges, ports, strict=True):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                assert f'name="{named(system.said(bridge))}",part="bridge",run="{RUN}"' in answer.read().decode()
        system.start("gateway", "--source", "kafka")
        fleet = system.fleet(frames=FRAMES, rate_hz=300)
        sending(system)
        bridges[0].send(signal.SIGTERM)  # leaves in order: drains its session and ends it
        eventually(lambda: not bridges[0].running(), within_s=20)
        assert system.account(bridges[0])["frames"] > 0
        bridges[1].kill()  # its session keeps what was dealt to it, for its successor
        again = system.start("bridge", *alike, log="bridge-1-again")
        eventually(lambda: " as " in system.said(again), within_s=60)
        assert named(system.said(again)) == named(system.said(bridges[1]))
        summary = accounted(system, ledger, fleet, within_s=180)
        assert (summary.verdict, summary.tiers["gateway"].missing) == ("VALID", 0), summary
        # Each compared its clock under its own name: on several machines they are not the same clock.
        assert {one for one in summary.clocks if one.startswith("bridge")} == {f"bridge bridge-{n}" for n in (1, 2, 3)}
        assert fates(system) == {"answered": FRAMES}
