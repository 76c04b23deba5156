"""The sign of life: a file that is new while a part gets on, and the shell script that judges its age."""

import os
import subprocess
from pathlib import Path

import pytest

from edgewise import alive
from edgewise.alive import EVERY_S, Alive
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.parts import Progress
from edgewise.places import CHECKOUT

CHECK = CHECKOUT / "compose" / "alive.sh"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "alive"
    monkeypatch.setenv(alive.VARIABLE, str(place))
    return place


def healthy(file: Path) -> bool:
    asked = subprocess.run(
        ["/bin/sh", str(CHECK)],
        env={"PATH": os.environ["PATH"], alive.VARIABLE: str(file)},
        capture_output=True,
        check=False,
    )
    return asked.returncode == 0


def test_a_part_that_turns_gives_a_sign_whether_or_not_there_are_frames(file: Path) -> None:
    assert not healthy(file), "before the first turn"
    progress = Progress("bridge", clock=ManualClock())
    progress.tell(0)
    assert healthy(file)


def test_a_part_that_has_not_turned_for_a_while_is_not_healthy(file: Path) -> None:
    Alive(clock=ManualClock()).beat()
    old_s = file.stat().st_mtime - 20
    os.utime(file, (old_s, old_s))
    assert not healthy(file)


def test_signs_are_given_now_and_then_and_not_at_every_turn(file: Path) -> None:
    clock = ManualClock()
    sign = Alive(clock=clock)
    sign.beat()
    file.unlink()
    sign.beat()
    assert not file.exists()
    clock.advance(by_ns=round(EVERY_S * SECOND_NS))
    sign.beat()
    assert file.exists()


def test_without_the_variable_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(alive.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    Alive(clock=ManualClock()).beat()
    assert list(tmp_path.iterdir()) == []
