"""A broker that dies under a thousand cameras: all come back, not all at once, and each frame is accounted for."""

import signal
from pathlib import Path

import psutil
import pytest

from edgewise.account import CameraAccount, Closing
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.entries import of_run
from edgewise.kafka import Client
from tests.peer import peer
from tests.real import eventually
from tests.system import RUN, running, sending

pytestmark = [pytest.mark.brokers, pytest.mark.faults, pytest.mark.timeout(300)]

CAMERAS = 1000
FRAMES = 15
RAMP_HZ = 200


def test_a_thousand_cameras_come_back_at_a_pace_and_lose_no_frame_unaccounted(tmp_path: Path) -> None:
    clock = SystemClock()
    with running(tmp_path) as system:
        system.start("bridge")
        sizes = ("--cameras", str(CAMERAS), "--rate-hz", "1", "--frames", str(FRAMES), "--ramp-hz", str(RAMP_HZ))
        fleet = system.start("fleet", "--run", RUN, *sizes, "--wait-for", "bridge", "--format", "json")
        sending(system)
        system.mqtt.kill()
        system.mqtt.start()
        back: list[tuple[int, int]] = []
        with peer(system.mqtt.address) as reader:
            reader.listen("cameras/+/status")

            def everyone() -> bool:
                online = {topic for topic, payload in list(reader.heard) if payload == b"online"}
                back.append((clock.ticks_ns(), len(online)))
                return len(online) == CAMERAS

            eventually(everyone, within_s=30, look_again_s=0.05)
        for began_ns, before in back:
            after = [count for moment_ns, count in back if moment_ns <= began_ns + SECOND_NS]
            # Those whose turn came in two neighbouring ticks, and what the watching itself is late by.
            assert max(after) - before <= 1.5 * RAMP_HZ
        eventually(lambda: not fleet.running(), within_s=120)
        assert fleet.exit_code == 0, system.said(fleet)
        account = system.account(fleet)
    assert account["scheduled"] == CAMERAS * FRAMES == account["sent"] + account["dropped_at_source"]
    assert account["sent"] == account["confirmed"] + account["unheard"] + account["refused"]
    assert account["confirmed"] > CAMERAS * FRAMES / 2


def test_a_process_that_dies_takes_only_its_own_cameras_with_it(tmp_path: Path) -> None:
    with running(tmp_path) as system:
        system.start("bridge")
        sizes = ("--cameras", "6", "--rate-hz", "10", "--frames", "60", "--processes", "2")
        fleet = system.start("fleet", "--run", RUN, *sizes, "--wait-for", "bridge")
        sending(system)
        own = [one for one in psutil.Process(fleet.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        own[0].send_signal(signal.SIGKILL)
        assert fleet.wait(within_s=60) == 4
        assert "1 of the fleet's 2 processes died; their cameras have no account" in system.said(fleet)
        entries = of_run(system.kafka.address, RUN, client=Client.AUTO, clock=SystemClock())
    accounts = [entry for entry in entries if isinstance(entry, CameraAccount)]
    assert len(accounts) == 3
    assert all(account.confirmed == [(0, 59)] for account in accounts)
    (closing,) = (entry for entry in entries if isinstance(entry, Closing) and entry.part == "fleet")
    assert closing.summary["confirmed"] == 180
