"""How evenly the machine works while a run lasts: what else it does slows a core, and nothing in the run shows why.

A small piece of work is done again and again on each core, and timed by the processor time
that it took. Waiting for the core does not count, so that the run's own load hardly does: what
does is a host that lets two virtual cores share one, or a clock that is turned down. Where
this machine's own cores share one (SMT), a load that comes and goes shows here, too.
"""

import os
import threading
import zlib
from collections.abc import Collection
from statistics import fmean, median
from typing import Final, Self

import numpy as np

from edgewise.clock import Clock, thread_spent_ns
from edgewise.summary import Reason, Steadiness

EVERY_S: Final = 0.5
PIECES: Final = 9
"""Timed for one probe, which is their median."""
WORK: Final = bytes(range(256)) * 64
"""Its checksum is the work: it stays in a core's own cache."""
TIMES: Final = 8
UNEVEN: Final = 1.2
"""Of the median of its core, or that part of it: a probe beyond is uneven."""
FOR_EVER_NS: Final = 2**63
MOST_SHARE: Final = 0.1
"""Of uneven probes: a machine with more is unsteady."""


class Watch:
    """Probes cores in a thread while the block lasts."""

    def __init__(self, cores: Collection[int], *, clock: Clock) -> None:
        self._clock = clock
        self._took_us: dict[int, list[tuple[int, float]]] = {core: [] for core in sorted(cores)}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgewise-steadiness", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY_S):
            for core, took_us in self._took_us.items():
                os.sched_setaffinity(0, {core})  # of this thread alone
                took_us.append((self._clock.now_ns(), probe_us()))

    def found(self, *, from_ns: int = 0, until_ns: int = FOR_EVER_NS) -> Steadiness | None:
        """Say how it was between two moments; None if that was too short to say."""
        return steadiness(
            [[us for now_ns, us in took_us if from_ns <= now_ns < until_ns] for took_us in self._took_us.values()]
        )


def probe_us() -> float:
    """Do a piece of work, and give the processor time that it took."""
    took_ns = []
    for _ in range(PIECES):
        began_ns = thread_spent_ns()
        for _ in range(TIMES):
            zlib.crc32(WORK)
        took_ns.append(thread_spent_ns() - began_ns)
    return median(took_ns) / 1000


def steadiness(took_us: Collection[Collection[float]]) -> Steadiness | None:
    """Judge what the probes of each core took; None without any."""
    by_core = [np.asarray(took) for took in took_us if len(took)]
    if not by_core:
        return None
    of_median = np.concatenate([took / np.median(took) for took in by_core])
    uneven = (of_median > UNEVEN) | (of_median < 1 / UNEVEN)
    return Steadiness(
        probes=len(of_median),
        probe_us=round(fmean(float(np.median(took)) for took in by_core), 2),
        slowest=round(float(of_median.max()), 2),
        uneven_share=round(float(uneven.mean()), 4),
    )


def unsteady(found: Steadiness | None) -> bool:
    """Say whether the machine was unsteady; one that nobody watched was not."""
    return found is not None and found.uneven_share > MOST_SHARE


def remark(found: Steadiness) -> Reason:
    """Say that the machine was unsteady, and what follows from that."""
    return Reason(
        rule="unsteady machine",
        found=round(found.uneven_share * 100, 1),
        limit=MOST_SHARE * 100,
        unit="% of the probes",
        next=f"the same small work took up to {found.slowest:g} times its median: something else slowed the cores, "
        "perhaps on the host; take speeds from a quieter hour",
    )
