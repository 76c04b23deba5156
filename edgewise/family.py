"""What a process and all that it started have used: for parts that are more than one process."""

import contextlib

import psutil


class Family:
    """A process and its descendants; ``look`` now and then, because the dead take their figures along."""

    def __init__(self, pid: int | None = None) -> None:
        """Begin with a process, or with this one."""
        self._me = psutil.Process(pid)
        self._cpu_s: dict[tuple[int, float], float] = {}
        self._memory_bytes = 0
        self.held_bytes = 0
        """Resident size of all together at the last look."""

    def look(self) -> None:
        """Take down what each has used so far, and what they hold now."""
        memory_bytes = 0
        for one in [self._me, *self._me.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                times = one.cpu_times()
                self._cpu_s[one.pid, one.create_time()] = times.user + times.system
                memory_bytes += one.memory_info().rss
        self.held_bytes = memory_bytes
        self._memory_bytes = max(self._memory_bytes, memory_bytes)

    def cpu_s(self) -> float:
        """Give CPU seconds of all, as far as they were looked at."""
        return sum(self._cpu_s.values())

    def spent(self) -> dict[str, float | int]:
        """Give CPU seconds of all, and the largest resident size that they were seen to have together."""
        self.look()
        return {"cpu_s": round(self.cpu_s(), 3), "memory_bytes": self._memory_bytes}
