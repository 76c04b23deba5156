"""Cameras that leave and come back: which, and when, from the seed."""

import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from edgewise.arrivals import LONGEST_S
from edgewise.clock import SECOND_NS
from edgewise.words import settings

LEAST_S: Final = 0.1
"""Of staying and being away: connections have a pace, too."""


class Churn(BaseModel):
    """How cameras come and go; as it is said: ``share=0.2,stay_s=60,away_s=10``."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    share: float = Field(default=0.0, ge=0, le=1)
    """Of the group's cameras, that come and go; the others stay."""
    stay_s: float = Field(default=60.0, ge=LEAST_S, le=LONGEST_S)
    """How long one of them is there on the average, exponentially drawn each time."""
    away_s: float = Field(default=10.0, ge=LEAST_S, le=LONGEST_S)
    """How long it then is away, each time; it comes back when the ramp lets it."""

    def away(self, *, seed: int, index: int, cameras: int, until_ns: int) -> Iterator[tuple[int, int]]:
        """Give from when to when one camera is away, in nanoseconds after the start."""
        if index not in _chosen(self.share, seed=seed, cameras=cameras):
            return
        chance = random.Random(f"{seed}/{index}/churn")  # noqa: S311 - no secret
        leaves_ns = round(chance.expovariate(1 / self.stay_s) * SECOND_NS)
        while leaves_ns < until_ns:
            back_ns = leaves_ns + round(self.away_s * SECOND_NS)
            yield leaves_ns, back_ns
            leaves_ns = back_ns + round(chance.expovariate(1 / self.stay_s) * SECOND_NS)


ChurnAsSaid = Annotated[Churn, BeforeValidator(settings)]
"""Churn from its words, or from a table."""


@lru_cache(maxsize=100)
def _chosen(share: float, *, seed: int, cameras: int) -> frozenset[int]:
    """Choose the cameras that come and go."""
    return frozenset(random.Random(f"{seed}/churn").sample(range(cameras), round(share * cameras)))  # noqa: S311
