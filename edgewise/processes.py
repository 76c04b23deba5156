"""Child processes that never outlive their parent.

Brokers and the parts of a run are processes of their own. Whatever happens to the
process that started them, ``kill -9`` included, the kernel ends them with it; that
is Linux's parent-death signal, and the reason why this kit needs Linux.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.errors import MissingError

PR_SET_PDEATHSIG: Final = 1
"""From linux/prctl.h."""

KILL_WAIT_S: Final = 10.0
"""How long the kernel may take to bury a killed process; it only ever takes this long on a broken disk."""


class Child:
    """One process we started, and what it said."""

    def __init__(self, process: subprocess.Popen[bytes], *, name: str, log: Path) -> None:
        self._process = process
        self.name = name
        self.log = log
        """Everything it wrote, stdout and stderr together."""

    @property
    def pid(self) -> int:
        """Its process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As subprocess gives it: negative is the signal that ended it, ``None`` means that it runs."""
        return self._process.poll()

    def running(self) -> bool:
        """Say whether it still runs."""
        return self._process.poll() is None

    def wait(self, *, within_s: float) -> int | None:
        """Wait for it to end by itself; ``None`` if it has not."""
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def send(self, what: signal.Signals) -> None:
        """Send it a signal; a child that has ended is left in peace."""
        self._process.send_signal(what)

    def stop(self, *, within_s: float) -> int:
        """End it: SIGTERM, and SIGKILL if it still runs after ``within_s``. Return its exit code.

        What it started itself and left behind is killed in either case.
        """
        self._process.terminate()
        code = self.wait(within_s=within_s)
        self._kill_group()
        return self._process.wait(KILL_WAIT_S) if code is None else code

    def kill(self) -> None:
        """End it at once, as a crash would; return when it is gone."""
        self._kill_group()
        self._process.wait(KILL_WAIT_S)

    def last_lines(self, *, lines: int = 8) -> list[str]:
        """Give the last lines of its log."""
        with contextlib.suppress(FileNotFoundError):
            said = self.log.read_text(errors="replace").strip().splitlines()
            return said[-lines:] or ["(it said nothing)"]
        return ["(it has no log)"]

    def tail(self, *, lines: int = 8) -> str:
        """Give the last lines of its log, for an error message."""
        return "\n".join(f"  | {line}" for line in self.last_lines(lines=lines))

    def _kill_group(self) -> None:
        # It leads its own session, so the group is it and its children, and no one else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def start(
    command: Sequence[str],
    *,
    name: str,
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    with_parent: signal.Signals = signal.SIGKILL,
    cores: Collection[int] = (),
) -> Child:
    """Start a process that ends with this one.

    It leads a session of its own, so that Ctrl-C in the terminal reaches only us and
    the order of stopping is ours. Its output is appended to ``log``. When this
    process ends, for whatever reason, the kernel sends it ``with_parent``. It may use
    ``cores`` alone, by number; if there are none, those that the calling thread may.

    Raises:
        MissingError: the program is not there or cannot be run.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # The kernel takes the *thread* that forked for the parent, so all children are forked by one
    # thread that lives as long as this process does.
    tie = _tie_to(os.getpid(), with_parent, cores or os.sched_getaffinity(0))
    return _spawner.submit(_start, command, name, log, env, cwd, tie).result()


def _start(
    command: Sequence[str],
    name: str,
    log: Path,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    tie: Callable[[], None],
) -> Child:
    with log.open("ab") as said:
        try:
            process = subprocess.Popen(  # noqa: S603 - starting programs is this module's job
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=env,
                cwd=cwd,
                start_new_session=True,
                preexec_fn=tie,  # noqa: PLW1509 - a few system calls, nothing that locks
            )
        except OSError as error:
            raise MissingError(f"{name} cannot be started: {command[0]}: {error.strerror}") from error
    return Child(process, name=name, log=log)


# Loaded here, because nothing should be loaded between fork and exec.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _tie_to(parent: int, with_parent: signal.Signals, cores: Collection[int]) -> Callable[[], None]:
    def tie() -> None:
        os.sched_setaffinity(0, cores)
        if _libc is None or _libc.prctl(PR_SET_PDEATHSIG, int(with_parent), 0, 0, 0) != 0:
            os._exit(126)
        # The parent may have died between fork and prctl; then no signal will ever come.
        if os.getppid() != parent:
            os._exit(125)

    return tie


def _new_spawner() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="edgewise-spawner")


def _after_fork() -> None:
    global _spawner  # noqa: PLW0603 - threads do not survive a fork; this process needs its own
    _spawner = _new_spawner()


_spawner = _new_spawner()
os.register_at_fork(after_in_child=_after_fork)


def birth(pid: int) -> int | None:
    """Say when a process began, in the kernel's ticks since it started; ``None`` if it does not run.

    A process id alone is used again sooner or later; with its birth it names one process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may hold anything, blanks and brackets too. What follows it begins with field 3.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[22 - 3])


def stop_all(children: Sequence[Child], *, within_s: float, clock: Clock | None = None) -> None:
    """Stop several at the same time, all of them within one period."""
    deadline = Deadline(clock or SystemClock(), within_s=within_s)
    for child in children:
        child.send(signal.SIGTERM)
    for child in children:
        child.stop(within_s=deadline.left_s())
