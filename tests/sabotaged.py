"""Parts with one fault each, for runs that must be found INVALID.

The kit starts its parts itself and knows nothing of this: a folder on PYTHONPATH holds a ``sitecustomize``, which
Python imports before a part's first line, and which puts the fault into the processes of that part alone.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgewise.places import CHECKOUT

AHEAD_NS: Final = 2_000_000_000
FORGOTTEN: Final = "camera-2"
LOST_OF: Final = 4


def planted(folder: Path, *, part: str, fault: Callable[[], None]) -> Mapping[str, str]:
    """Give an environment in which every process of one part has a fault."""
    text = f"from tests import sabotaged\n\nsabotaged.plant({part!r}, {fault.__name__!r})\n"
    (folder / "sitecustomize.py").write_text(text)
    before = [path for path in [os.environ.get("PYTHONPATH")] if path]
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(CHECKOUT), *before])}


def plant(part: str, fault: str) -> None:
    """Put a fault into this process if it is one of that part's."""
    if sys.orig_argv[1:4] == ["-m", "edgewise", part]:
        FAULTS[fault]()


def clock_ahead() -> None:
    """Let this process read a clock that is two seconds ahead."""
    _shift(AHEAD_NS)


def clock_behind() -> None:
    """Let this process read a clock that is two seconds behind."""
    _shift(-AHEAD_NS)


def clock_behind_elsewhere() -> None:
    """Let this process read a clock that is two seconds behind, on a machine of its own."""
    from edgewise import soundings

    soundings.machine = lambda: "another"
    clock_behind()


def _shift(by_ns: int) -> None:
    from edgewise.clock import SystemClock

    right = SystemClock.now_ns

    def wrong(self: SystemClock) -> int:
        return right(self) + by_ns

    SystemClock.now_ns = wrong  # type: ignore[method-assign]


def another_model() -> None:
    """Load another model than the scenario says: a file that was not exchanged on one of the machines."""
    sys.argv[sys.argv.index("--model") + 1] = "cifar_cnn"


def one_camera_forgotten() -> None:
    """Let a gateway classify all cameras' frames and write the results of all but one."""
    from consumers.gateway.model import Classified
    from consumers.gateway.write import ResultWriter

    whole = ResultWriter.store

    def forgetful(self: ResultWriter, answers: Sequence[Classified]) -> None:
        whole(self, [one for one in answers if one.opened.frame.camera != FORGOTTEN])

    ResultWriter.store = forgetful  # type: ignore[method-assign]


def results_lost() -> None:
    """Let a ledger find only three of four results, as if Kafka had lost the others."""
    from consumers.ledger.collect import Collected
    from edgewise import topics
    from edgewise.kafka import Record

    whole = Collected.add

    def blind(self: Collected, records: Iterable[Record], *, now_ns: int) -> None:
        there = [one for one in records if one.topic != topics.RESULTS or one.offset % LOST_OF]
        whole(self, there, now_ns=now_ns)

    Collected.add = blind  # type: ignore[method-assign]


FAULTS: Final = {
    fault.__name__: fault
    for fault in (
        *(clock_ahead, clock_behind, clock_behind_elsewhere),
        *(another_model, one_camera_forgotten, results_lost),
    )
}
