"""What the cameras of this machine can send at most, with nobody behind them: a load near it would measure them."""

import math
from dataclasses import dataclass
from typing import Any, Final

from edgewise import security
from edgewise.arrivals import Periodic
from edgewise.clock import SECOND_NS, Clock, Deadline, SystemClock
from edgewise.errors import InvalidRunError
from edgewise.mqtt.link import Link
from edgewise.parts import say, warn
from producers.camera.churn import Churn
from producers.fleet import open_files
from producers.fleet.null_sink import null_sink
from producers.fleet.settings import FleetSettings
from producers.fleet.workers import Workers

FRAMES: Final = 20_000
"""That are sent, about a second's."""
RATE_HZ: Final = 1000.0
"""Of each camera: all frames are due within a second or less, so that nothing but the cameras holds them back."""
WITHIN_S: Final = 120.0
SINK_BUSY_SHARE: Final = 0.9
"""From which on the sink, one thread, is taken for the limit."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What cameras can send at most."""

    ceiling_hz: float
    """Frames a second, from when the first was due until the last was confirmed."""
    sink_busy_share: float
    """Of that time, that the sink has worked."""


def found(settings: FleetSettings, *, clock: Clock) -> Ceiling:
    """Let a fleet's cameras send as fast as they can to a broker that keeps nothing.

    Args:
        settings: whose cameras, processes, codec and image order count.
        clock: of the schedule.

    Raises:
        InvalidRunError: nothing was sent, or a process died.
    """
    open_files.have(settings.lines(), cameras=settings.cameras)  # the broker is in this process
    frames = math.ceil(FRAMES / settings.cameras)
    asked = {"frames": frames, "rate_hz": max(frames, RATE_HZ), "arrival": Periodic(), "drop_after_s": WITHIN_S}
    asked |= {"link": Link(), "churn": Churn()}  # neither is the cameras' own speed
    groups = tuple(group.model_copy(update=asked) for group in settings.groups)
    with null_sink() as sink, security.meanwhile(security.Profile()):
        fast = settings.model_copy(update={"mqtt": sink.address, "wait_s": WITHIN_S, "groups": groups})
        workers = Workers(fast)
        start_ns = fast.begins_ns(clock)
        given_up = Deadline(clock, within_s=WITHIN_S)
        try:
            workers.drive(start_ns=start_ns, done=given_up.passed, tell=lambda _: None)
        finally:
            spent = workers.close()
    accounts = [account for one in spent for account in one.accounts]
    sent = sum(account.counts["sent"] for account in accounts)
    if not sent or len(spent) < settings.processes:
        raise InvalidRunError("what the cameras can send was not measured: a process died, or nothing was sent")
    spent_s = (max(account.last_ns for account in accounts) - start_ns) / SECOND_NS
    return Ceiling(float(sent / spent_s), sink.busy_share)


def measured_hz(settings: FleetSettings, *, clock: Clock) -> float:
    """Give the frames a second alone; see ``found``."""
    return found(settings, clock=clock).ceiling_hz


def measure(settings: FleetSettings) -> dict[str, Any]:
    """Measure it as a command of its own; give the account."""
    say("fleet: measuring what these cameras can send with nobody behind them ...")
    most = found(settings, clock=SystemClock())
    if most.sink_busy_share > SINK_BUSY_SHARE:
        warn(
            f"fleet: the sink worked {most.sink_busy_share * 100:.0f} % of the time, so that it was the limit itself: "
            "these cameras can send more than this"
        )
    return {
        "cameras": settings.cameras,
        "processes": settings.processes,
        "ceiling_hz": round(most.ceiling_hz, 1),
        "sink_busy_share": round(most.sink_busy_share, 3),
    }
