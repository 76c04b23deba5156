"""What a scenario asks of its cameras, beside the most that they can send from this machine."""

from compare.scenario import Fleet
from edgewise.clock import Clock
from edgewise.errors import ConfigError
from edgewise.summary import Generator
from producers.fleet import ceiling
from producers.fleet.settings import FleetSettings, Group


def measured_hz(fleet: Fleet, *, clock: Clock) -> float:
    """Let the scenario's cameras send as fast as they can, and give the frames a second that they sent.

    Raises:
        InvalidRunError: nothing was sent.
    """
    group = Group(cameras=fleet.schedule.cameras, codec=fleet.codec, order=fleet.order)
    settings = FleetSettings(mqtt="", kafka="", run="ceiling", groups=(group,))
    return ceiling.measured_hz(settings, clock=clock)


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
