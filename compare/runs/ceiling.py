"""What the cameras of this machine can send at most, with nobody behind them: a load near it would measure them."""

import json
import math
import sys
from pathlib import Path
from typing import Final

from compare.runs.null_sink import null_sink
from compare.scenario import Fleet
from edgewise import processes
from edgewise.errors import ConfigError, InvalidRunError
from edgewise.kafka import Client
from edgewise.summary import Generator

FRAMES: Final = 20_000
"""That are sent, about a second's."""
WITHIN_S: Final = 120.0


def measured_hz(fleet: Fleet, *, kafka: str, client: Client, name: str, log: Path) -> float:
    """Let the scenario's cameras send as fast as they can, and give the frames a second that were confirmed.

    Args:
        fleet: whose number of cameras and codec count.
        kafka: where the fleet writes its plan, as in a run.
        client: that it talks to Kafka with.
        name: of that run.
        log: where the fleet's words go.

    Raises:
        InvalidRunError: the fleet did not come to its end.
    """
    cameras = fleet.schedule.cameras
    frames = math.ceil(FRAMES / cameras)
    with null_sink() as mqtt:
        command = [sys.executable, "-m", "edgewise", "fleet", "--mqtt", mqtt, "--kafka", kafka]
        command += ["--kafka-client", client.value, "--run", name, "--wait-for", "", "--format", "json"]
        # All are due within a second or less: from then on nothing but the cameras themselves holds them back.
        command += ["--cameras", str(cameras), "--frames", str(frames), "--rate-hz", str(max(frames, 1000))]
        command += ["--codec", fleet.codec.value, "--order", fleet.order, "--drop-after-s", str(WITHIN_S)]
        child = processes.start(command, name="the fleet", log=log)
        code = child.wait(within_s=WITHIN_S)
        child.stop(within_s=1.0)
    if code != 0:
        said = f"exit code {code}; the end of {log}:\n{child.tail()}"
        raise InvalidRunError(f"what the cameras can send was not measured: {said}")
    account = json.loads(log.read_text().strip().splitlines()[-1])
    spent_s = frames / max(frames, 1000) + account["lateness_ms"]["max"] / 1000
    return float(account["confirmed"] / spent_s)


def judged(fleet: Fleet, *, ceiling_hz: float) -> Generator:
    """Set what is asked of the cameras beside what they can do.

    Raises:
        ConfigError: it is more than the share that may be asked.
    """
    asked = Generator(
        offered_hz=fleet.offered_hz,
        ceiling_hz=round(ceiling_hz, 1),
        limit_share=fleet.ceiling_share,
    )
    if asked.offered_hz > fleet.ceiling_share * ceiling_hz:
        raise ConfigError(
            f"{asked.offered_hz:,.0f} frames/s are more than {fleet.ceiling_share * 100:.0f} % of the "
            f"{ceiling_hz:,.0f} that the cameras can send from this machine: "
            "lower fleet.cameras or fleet.rate_hz, or use a larger machine"
        )
    return asked
