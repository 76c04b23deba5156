"""What a process and all that it started have used."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from edgewise.family import Family

HELD_BYTES: Final = 64 << 20
WORK_S: Final = 0.3
COUNTED_S: Final = 0.25
"""The kernel tells others in steps of 10 ms, user and system each cut off."""
CHILD: Final = f"""
import sys, time
held = b"x" * {HELD_BYTES}
while time.process_time() < {WORK_S}: pass
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def working(*, below: str = CHILD) -> Iterator[None]:
    """Have a child that has worked and still holds its memory."""
    command = [sys.executable, "-c", below]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        yield
        child.communicate("")


def test_what_children_used_counts_and_stays_counted_when_they_are_gone() -> None:
    family = Family()
    before = family.spent()
    with working():
        during = family.spent()
    after = family.spent()
    assert during["cpu_s"] - before["cpu_s"] >= COUNTED_S
    assert during["memory_bytes"] - before["memory_bytes"] >= HELD_BYTES
    assert after["cpu_s"] >= during["cpu_s"]
    assert after["memory_bytes"] >= during["memory_bytes"], "the largest that they held together"


def test_a_child_of_a_child_belongs_to_the_family() -> None:
    family = Family()
    before = family.spent()
    below = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}])"
    with working(below=below):
        assert family.spent()["cpu_s"] - before["cpu_s"] >= COUNTED_S


def test_two_that_come_one_after_the_other_are_added_in_time_and_not_in_memory() -> None:
    family = Family()
    mine_bytes = family.spent()["memory_bytes"]
    before_s = family.spent()["cpu_s"]
    for _ in range(2):
        with working():
            family.look()
    found = family.spent()
    assert found["cpu_s"] - before_s >= 2 * COUNTED_S
    assert found["memory_bytes"] - mine_bytes < 2 * HELD_BYTES
