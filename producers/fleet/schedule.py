"""What a fleet's schedule is asked to be, in the words of its options: ``burst:on_s=1,off_s=4``."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError

from edgewise import dataset, words
from edgewise.account import FRAMES_MOST
from edgewise.arrivals import Burst, Diurnal, Drawn, Lognormal, Periodic, Poisson, Trace, unfolded
from edgewise.clock import SECOND_NS
from edgewise.errors import ConfigError

DRAWN: Final[dict[str, type[Drawn]]] = {
    "periodic": Periodic,
    "poisson": Poisson,
    "lognormal": Lognormal,
    "burst": Burst,
    "diurnal": Diurnal,
}
EXAMPLES: Final = {
    "lognormal": "sigma, as in lognormal:sigma=0.5",
    "burst": "on_s and off_s, as in burst:on_s=1,off_s=4",
    "diurnal": "period_s and depth, as in diurnal:period_s=3600,depth=0.8",
}
CAMERAS: Final = 1
RATE_HZ: Final = 10.0
FRAMES: Final = 100
"""What is taken where nothing was asked."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many cameras, how many frames each, and when."""

    arrival: Drawn | Trace
    cameras: int
    rate_hz: float
    """Of each camera; of a trace, on the average."""
    frames: int
    """Of each camera; of a trace, of the camera that has most."""

    @property
    def peak_hz(self) -> float:
        """Give the frames a second of all cameras together at the pattern's peak; what comes by chance is none."""
        mean_hz = self.cameras * self.rate_hz
        match self.arrival:
            case Burst(on_s=on_s, off_s=off_s):
                return mean_hz * (on_s + off_s) / on_s
            case Diurnal(period_s=period_s, depth=depth):
                turned = min(self.frames / self.rate_hz / period_s, 0.25)  # a short run does not get to the top
                return mean_hz * (1 + depth * math.sin(2 * math.pi * turned))
            case Trace():
                return float(np.bincount(unfolded(self.arrival).due_ns // SECOND_NS).max())
        return mean_hz


def asked(
    arrival: str,
    *,
    cameras: int | None = None,
    rate_hz: float | None = None,
    frames: int | None = None,
    duration_s: float | None = None,
    images: int = dataset.SPLITS["test"].images,
) -> Schedule:
    """Give the schedule that these options ask for, of so many images; None was not said.

    Raises:
        ConfigError: they do not fit together, or one is wrong.
    """
    name, _, rest = arrival.partition(":")
    if name == "trace" and rest:
        sizes = {"--cameras": cameras, "--rate-hz": rate_hz, "--frames": frames, "--duration-s": duration_s}
        if said := [option for option, value in sizes.items() if value is not None]:
            raise ConfigError(
                f"--arrival {arrival}: a trace says itself how many frames come, and when; leave out {', '.join(said)}"
            )
        return _traced(Path(rest), images=images)
    if frames is not None and duration_s is not None:
        raise ConfigError(f"--frames {frames} and --duration-s {duration_s:g} are two lengths; give one of them")
    often_hz = RATE_HZ if rate_hz is None else rate_hz
    pattern = _drawn(arrival, rate_hz=often_hz)
    if duration_s is not None:
        if not duration_s * often_hz <= FRAMES_MOST:
            raise ConfigError(
                f"--duration-s {duration_s:g} at --rate-hz {often_hz:g}: a camera sends {FRAMES_MOST:,} frames at most"
            )
        frames = max(1, round(duration_s * often_hz))
    return Schedule(pattern, CAMERAS if cameras is None else cameras, often_hz, FRAMES if frames is None else frames)


def _traced(path: Path, *, images: int) -> Schedule:
    """Give a trace's schedule."""
    from producers.fleet import trace  # pyarrow, which no other pattern needs

    found = trace.read(path, images=images)
    cameras = found.cameras()
    lasts_s = max(int(found.due_ns(index)[-1]) for index in range(cameras)) / SECOND_NS
    # A trace of a moment has no rate; that of a second is as good as any.
    return Schedule(found, cameras, found.frames_together() / cameras / max(lasts_s, 1.0), found.frames_most())


def _drawn(arrival: str, *, rate_hz: float) -> Drawn:
    name, colon, rest = arrival.partition(":")
    if name not in DRAWN:
        raise ConfigError(f"--arrival {arrival!r} is none of {', '.join(DRAWN)}, trace:FILE")
    takes = EXAMPLES.get(name, "no settings")
    wrong = ConfigError(f"--arrival {arrival!r}: {name} takes {takes}")
    try:
        settings: dict[str, Any] = words.settings(rest)
    except ValueError as error:
        raise wrong from error
    if (colon and not settings) or not set(settings) <= set(DRAWN[name].model_fields) - {"kind"}:
        raise wrong
    if name == "lognormal" and not settings:
        settings["sigma"] = 0.5 / rate_hz  # as VMware's sender had it
        if settings["sigma"] > 2:  # noqa: PLR2004 - as far as Lognormal goes
            raise ConfigError(
                f"--arrival lognormal at --rate-hz {rate_hz:g}: its sender's sigma is half the mean gap in seconds, "
                f"{settings['sigma']:g}, whose mean no run lives to see; say one up to 2: lognormal:sigma=0.5"
            )
    try:
        return DRAWN[name].model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"--arrival {arrival!r}: {first['loc'][0]}: {first['msg']}; {name} takes {takes}") from error
