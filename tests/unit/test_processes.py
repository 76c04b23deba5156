import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise import processes
from edgewise.clock import ManualClock
from edgewise.errors import MissingError
from tests.real import eventually

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); signal.pause()"
PATIENT = "import signal; print('ready', flush=True); signal.pause()"


def python(code: str, *, log: Path, with_parent: signal.Signals = signal.SIGKILL) -> processes.Child:
    return processes.start([sys.executable, "-c", code], name="a test", log=log, with_parent=with_parent)


def ready(child: processes.Child) -> bool:
    return "ready" in child.tail()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "child.log"


def test_what_it_says_is_in_the_log_and_the_tail_is_its_end(log: Path) -> None:
    child = python("import sys; [print(n) for n in range(20)]; print('oh', file=sys.stderr)", log=log)
    assert child.wait(within_s=10) == 0
    assert child.tail(lines=2) == "  | 19\n  | oh"


def test_a_child_that_said_nothing_has_a_tail_too(log: Path) -> None:
    child = python("pass", log=log)
    assert child.wait(within_s=10) == 0
    assert child.tail() == "  | (it said nothing)"


def test_stop_is_sigterm_first(log: Path) -> None:
    child = python(PATIENT, log=log)
    eventually(lambda: ready(child), within_s=10)
    assert child.running()
    assert child.stop(within_s=10) == -signal.SIGTERM
    assert not child.running()


def test_stop_kills_what_will_not_stop(log: Path) -> None:
    child = python(STUBBORN, log=log)
    eventually(lambda: ready(child), within_s=10)
    assert child.stop(within_s=0.1) == -signal.SIGKILL


def test_kill_takes_its_children_too(log: Path) -> None:
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {PATIENT!r}]).pid); {PATIENT}"
    child = python(code, log=log)
    eventually(lambda: log.read_text().count("ready") == 2, within_s=10)
    grandchild = next(int(line) for line in log.read_text().splitlines() if line.isdecimal())
    child.kill()
    eventually(lambda: processes.birth(grandchild) is None, within_s=10)
    assert child.exit_code == -signal.SIGKILL


def test_a_child_does_not_outlive_a_killed_parent(log: Path) -> None:
    parent = python(starting(PATIENT, log=log, with_parent="SIGKILL"), log=log)
    child = eventually(lambda: born(log), within_s=10)
    assert child is not None
    parent.kill()
    eventually(lambda: processes.birth(child) is None, within_s=10)


def test_a_child_may_ask_for_another_signal_at_its_parents_death(log: Path) -> None:
    last_words = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('bye', flush=True)))"
    parent = python(starting(f"{last_words}; {PATIENT}", log=log, with_parent="SIGTERM"), log=log)
    eventually(lambda: born(log), within_s=10)
    parent.kill()
    eventually(lambda: "bye" in log.read_text(), within_s=10)


def test_a_child_outlives_the_thread_that_asked_for_it(log: Path) -> None:
    with ThreadPoolExecutor(max_workers=1) as thread:
        child = thread.submit(python, PATIENT, log=log).result()
    eventually(lambda: ready(child), within_s=10)
    assert child.running()
    child.kill()


def test_a_process_made_by_fork_can_start_children(log: Path) -> None:
    python("pass", log=log).wait(within_s=10)
    if (pid := os.fork()) == 0:
        os._exit(7 if python("pass", log=log).wait(within_s=10) == 0 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_program_that_is_not_there_is_named(log: Path) -> None:
    with pytest.raises(MissingError) as error:
        processes.start(["no-such-program", "-x"], name="the bridge", log=log)
    assert str(error.value) == "the bridge cannot be started: no-such-program: No such file or directory"


def test_several_are_stopped_within_one_period(tmp_path: Path) -> None:
    children = [python(STUBBORN, log=tmp_path / f"{number}.log") for number in range(3)]
    eventually(lambda: all(ready(child) for child in children), within_s=10)
    processes.stop_all(children, within_s=0.1, clock=ManualClock())
    assert [child.exit_code for child in children] == [-signal.SIGKILL] * 3


def test_a_birth_names_a_process_and_the_dead_have_none(log: Path) -> None:
    child = python(PATIENT, log=log)
    assert processes.birth(os.getpid()) == processes.birth(os.getpid())
    assert processes.birth(child.pid) is not None
    child.kill()
    assert processes.birth(child.pid) is None


def starting(code: str, *, log: Path, with_parent: str) -> str:
    """Write a program that starts another, says its id, and waits to be killed."""
    return (
        "import signal, sys\nfrom pathlib import Path\nfrom edgewise import processes\n"
        f"child = processes.start([sys.executable, '-c', {code!r}], name='c', log=Path({str(log)!r}),"
        f" with_parent=signal.{with_parent})\nprint(child.pid, flush=True)\nsignal.pause()"
    )


def born(log: Path) -> int | None:
    """Find the id that the starter wrote, once its child is ready."""
    lines = log.read_text().splitlines()
    ids = [int(line) for line in lines if line.isdecimal()]
    return ids[0] if ids and "ready" in lines else None
