"""A sign of life for whoever watches a part from outside: a file that is written anew while the part gets on.

A part that hangs, or that only waits for Kafka, does not get on, and its file grows old. To compare
the file's age with a clock takes no Python and no connection: ``compose/compose.yaml`` does it with a shell.
"""

import os
from pathlib import Path
from typing import Final

from edgewise.clock import SECOND_NS, Clock

VARIABLE: Final = "EDGEWISE_ALIVE"
"""Names the file; without it nothing is written."""
EVERY_S: Final = 2.0


class Alive:
    """The file of one part, named by $EDGEWISE_ALIVE."""

    def __init__(self, *, clock: Clock) -> None:
        named = os.environ.get(VARIABLE)
        self._file = Path(named) if named else None
        self._clock = clock
        self._next_ns = clock.ticks_ns()

    def beat(self) -> None:
        """Say that the part gets on; costs nothing between two signs."""
        if self._file is None or (now_ns := self._clock.ticks_ns()) < self._next_ns:
            return
        self._file.touch()
        self._next_ns = now_ns + round(EVERY_S * SECOND_NS)
