"""The machine that a run was made on: what decides how fast it is, and what it allows."""

import os
import platform
import socket
from pathlib import Path
from typing import Any, Final

import psutil

from compare.runs import machine
from edgewise import soundings

TOLD: Final = {
    "governor": Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    "clock_source": Path("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    "cgroup_cpu_max": Path("/sys/fs/cgroup/cpu.max"),
    "cgroup_memory_max": Path("/sys/fs/cgroup/memory.max"),
}
"""What the kernel says in a file of its own; not every one has each."""


def here() -> dict[str, Any]:
    """Look at this one."""
    return {
        "name": socket.gethostname(),
        "boot": soundings.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "processor": machine.here().processor,
        "cores": os.cpu_count(),
        "cores_allowed": sorted(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        **{name: told(path) for name, path in TOLD.items()},
    }


def told(path: Path) -> str | None:
    """Read a line of the kernel's; None where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
