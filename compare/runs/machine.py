"""Which machine a figure was measured on: an absolute one means nothing without it."""

import platform
import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from compare.doctor.doctor import FAST
from models.engine import cores


class Machine(BaseModel):
    """What of a machine decides how fast an engine is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processor: str
    """As it names itself."""
    abilities: tuple[str, ...]
    """Of those that engines make use of."""
    cores: int
    """That this process may use."""
    kernel: str

    def __str__(self) -> str:
        """Name it in one line."""
        able = f" with {', '.join(self.abilities)}" if self.abilities else ""
        return f"{self.processor}{able}; {self.cores} core{'s' * (self.cores > 1)}; {self.kernel}"


def here() -> Machine:
    """Look at this one."""
    return of(Path("/proc/cpuinfo").read_text())


def of(cpuinfo: str) -> Machine:
    """Read what Linux says of the processor."""
    name, flags = (re.search(rf"^{field}\s*:\s*(.+)$", cpuinfo, re.MULTILINE) for field in ("model name", "flags"))
    there = set(flags[1].split()) if flags else set()
    return Machine(
        processor=name[1] if name else platform.machine(),
        abilities=tuple(one for one in FAST if one in there),
        cores=cores(),
        kernel=f"{platform.system()} {platform.release()}",
    )
