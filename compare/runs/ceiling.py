"""What a scenario asks of its cameras, beside the most that they can send from this machine."""

from collections.abc import Callable
from typing import Final

from compare.scenario import Fleet
from edgewise.clock import Clock
from edgewise.errors import ConfigError
from edgewise.summary import Generator
from producers.fleet import ceiling
from producers.fleet.settings import FleetSettings, Group

OF: Final = ("codec", "order", "images", "connections")
"""Of a fleet, what its ceiling follows from beside their number: all is sent as fast as it goes, at no rate."""


def measured_hz(fleet: Fleet, *, clock: Clock) -> float:
    """Let the scenario's cameras send as fast as they can, and give the frames a second that they sent.

    Raises:
        InvalidRunError: nothing was sent.
    """
    cameras, order = fleet.schedule.cameras, fleet.order
    group = Group(cameras=cameras, codec=fleet.codec, order=order, images=fleet.pictures)
    settings = FleetSettings(mqtt="", kafka="", run="ceiling", groups=(group,), connections=fleet.connections or None)
    return ceiling.measured_hz(settings, clock=clock)


class Ceilings:
    """Of each fleet its own, measured once."""

    def __init__(self, measure: Callable[[Fleet], float]) -> None:
        self._measure = measure
        self._found_hz: dict[tuple[object, ...], float] = {}

    def of(self, fleet: Fleet) -> Generator:
        """Set what is asked of a fleet beside what it can do."""
        key = (fleet.schedule.cameras, *(getattr(fleet, name) for name in OF))
        if key not in self._found_hz:
            self._found_hz[key] = self._measure(fleet)
        return asked(fleet, ceiling_hz=self._found_hz[key])


def asked(fleet: Fleet, *, ceiling_hz: float) -> Generator:
    """Set what is asked of the cameras beside what they can do."""
    peak_hz = round(fleet.schedule.peak_hz, 3)
    return Generator(
        offered_hz=fleet.offered_hz,
        peak_hz=peak_hz if peak_hz > fleet.offered_hz else None,
        ceiling_hz=round(ceiling_hz, 1),
        limit_share=fleet.ceiling_share,
    )


def times(found: Generator) -> float:
    """Say how many times the mean rate the cameras send at most."""
    return 1.0 if found.peak_hz is None else found.peak_hz / found.offered_hz


def most_hz(found: Generator) -> float:
    """Give the mean rate whose peak is all that may be asked."""
    return found.limit_share * found.ceiling_hz / times(found)


def refuse(found: Generator) -> None:
    """Refuse a load whose peak is more than the share that may be asked.

    Raises:
        ConfigError: it is.
    """
    if found.offered_hz > most_hz(found):
        mean = "" if found.peak_hz is None else f" at the peak of {found.offered_hz:,.0f}"
        raise ConfigError(
            f"{found.peak_hz or found.offered_hz:,.0f} frames/s{mean} are more than {found.limit_share * 100:.0f} % of "
            f"the {found.ceiling_hz:,.0f} that the cameras can send from this machine: "
            "lower fleet.cameras or fleet.rate_hz, or use a larger machine"
        )
