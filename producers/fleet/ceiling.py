"""What the cameras of this machine can send at most, with nobody behind them: a load near it would measure them."""

import math
from typing import Any, Final

import numpy as np

from edgewise.arrivals import Periodic
from edgewise.clock import SECOND_NS, Clock, Deadline, SystemClock
from edgewise.errors import InvalidRunError
from edgewise.parts import say
from producers.fleet import open_files
from producers.fleet.null_sink import null_sink
from producers.fleet.settings import FleetSettings
from producers.fleet.workers import Workers

FRAMES: Final = 20_000
"""That are sent, about a second's."""
RATE_HZ: Final = 1000.0
"""Of each camera: all frames are due within a second or less, so that nothing but the cameras holds them back."""
WITHIN_S: Final = 120.0


def measured_hz(settings: FleetSettings, *, clock: Clock) -> float:
    """Let a fleet's cameras send as fast as they can to a broker that keeps nothing: frames a second.

    Args:
        settings: whose cameras, processes, codec and image order count.
        clock: of the schedule.

    Raises:
        InvalidRunError: nothing was sent, or a process died.
    """
    open_files.have(settings.cameras, cameras=settings.cameras)  # the broker is in this process
    frames = math.ceil(FRAMES / settings.cameras)
    asked = {"frames": frames, "rate_hz": max(frames, RATE_HZ), "arrival": Periodic(), "drop_after_s": WITHIN_S}
    groups = tuple(group.model_copy(update=asked) for group in settings.groups)
    with null_sink() as mqtt:
        fast = settings.model_copy(update={"mqtt": mqtt, "wait_s": WITHIN_S, "groups": groups})
        workers = Workers(fast)
        plans = fast.plans(clock=clock)
        given_up = Deadline(clock, within_s=WITHIN_S)
        workers.drive(plans, done=given_up.passed, tell=lambda _: None)
        spent = workers.close()
    accounts = [account for one in spent for account in one.accounts]
    sent = sum(account.counts["sent"] for account in accounts)
    if not sent or len(spent) < settings.processes:
        raise InvalidRunError("what the cameras can send was not measured: a process died, or nothing was sent")
    late_ns = np.concatenate([account.late_ns for account in accounts])
    spent_s = frames / plans[0].rate_hz + int(late_ns.max()) / SECOND_NS
    return float(sent / spent_s)


def measure(settings: FleetSettings) -> dict[str, Any]:
    """Measure it as a command of its own; give the account."""
    say("fleet: measuring what these cameras can send with nobody behind them ...")
    found_hz = measured_hz(settings, clock=SystemClock())
    return {"cameras": settings.cameras, "processes": settings.processes, "ceiling_hz": round(found_hz, 1)}
