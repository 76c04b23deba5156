"""Names for parts that are alike: one process each at a time, and none forgotten that frames may be kept for."""

import os
from pathlib import Path

import pytest

from edgewise.errors import ConfigError
from edgewise.names import Name


def taken(folder: Path) -> Name:
    return Name(folder, stem="bridge")


def dies(name: Name) -> None:
    """Give up the lock as a process does that is killed."""
    os.close(name._lock)  # noqa: SLF001 - there is no other way to die in a test


def test_each_has_a_name_of_its_own_and_the_numbers_begin_at_one(tmp_path: Path) -> None:
    held = [taken(tmp_path / "names") for _ in range(3)]
    assert [str(name) for name in held] == ["bridge-1", "bridge-2", "bridge-3"]


def test_the_name_of_one_that_was_killed_goes_to_the_next(tmp_path: Path) -> None:
    first, second = taken(tmp_path), taken(tmp_path)
    dies(first)
    assert str(taken(tmp_path)) == str(first)
    assert str(second) == "bridge-2"


def test_one_that_leaves_others_behind_ends_its_session_and_its_name_is_new_again(tmp_path: Path) -> None:
    first, second = taken(tmp_path), taken(tmp_path)
    assert first.leave()
    first.ended()
    dies(first)
    assert not second.leave(), "the frames of a share without members would have no reader"


def test_the_last_one_s_name_is_taken_before_a_lower_one(tmp_path: Path) -> None:
    first, second = taken(tmp_path), taken(tmp_path)
    assert first.leave()
    first.ended()
    dies(first)
    assert not second.leave()
    dies(second)
    assert str(taken(tmp_path)) == "bridge-2", "what is queued for it would wait for ever"
    assert str(taken(tmp_path)) == "bridge-1"


def test_two_that_leave_at_once_do_not_both_rely_on_the_other(tmp_path: Path) -> None:
    first, second = taken(tmp_path), taken(tmp_path)
    assert first.leave()
    assert not second.leave()


def test_one_that_was_killed_while_it_left_counts_as_there_again_when_it_is_back(tmp_path: Path) -> None:
    first, second = taken(tmp_path), taken(tmp_path)
    assert first.leave()
    dies(first)
    again = taken(tmp_path)
    assert str(again) == "bridge-1"
    assert second.leave()


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    held = [taken(tmp_path) for _ in range(10)]
    dies(held[9])
    dies(held[1])
    assert str(taken(tmp_path)) == "bridge-2"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"--names .*/file/names: Not a directory; name a folder to write to"):
        taken(tmp_path / "file" / "names")
