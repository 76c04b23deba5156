"""One figure over several runs."""

from collections.abc import Sequence
from typing import Any

from pydantic import model_validator

from edgewise.statistics import Bounds, median_interval
from edgewise.summary import Interval, Strict


class Spread(Strict):
    """One figure over the repeats."""

    values: list[float]
    """In the order of the runs."""
    median: float
    min: float
    max: float
    interval: Interval
    """Of the median, 95 %, by bootstrap over the repeats; where these have the same frames, as wide as those allow."""

    @model_validator(mode="before")
    @classmethod
    def _ends(cls, given: Any) -> Any:  # noqa: ANN401 - as it stands in a file
        """Take least and most from the values, where an older version did not write them."""
        values = given.get("values") if isinstance(given, dict) else None
        return {"min": min(values), "max": max(values)} | given if values else given

    def apart(self, other: "Spread") -> bool:
        """Say whether no value of one lies among the other's."""
        return self.max < other.min or other.max < self.min


def spread(values: Sequence[float], *frames: Bounds | None) -> Spread:
    """Put a figure's values together.

    Args:
        values: run by run.
        frames: intervals that the runs' own frames give. Repeats of one schedule have the same frames, and may agree
            to the last digit: how another schedule's would differ only the frames can say.
    """
    middle, (low, high) = median_interval(values)
    known = [Interval(low=round(one.low, 6), high=round(one.high, 6)) for one in frames if one is not None]
    return Spread(
        values=list(values),
        median=middle,
        min=min(values),
        max=max(values),
        interval=Interval(low=min([low, *(one.low for one in known)]), high=max([high, *(one.high for one in known)])),
    )
