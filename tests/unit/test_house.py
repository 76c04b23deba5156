"""The habits of this house that a machine can keep."""

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest

from edgewise.places import CHECKOUT

PARTS: Final = ("edgewise", "models", "producers", "brokers", "consumers", "compare")
BANNED_NAMES: Final = {"utils", "util", "helpers", "helper", "common", "base", "manager", "handler", "misc"}
TWIN_FILES: Final = {"__init__", "settings", "read", "model", "write", "run"}
PYPROJECT: Final = (CHECKOUT / "pyproject.toml").read_text()
README: Final = (CHECKOUT / "README.md").read_text()
MAKEFILE: Final = (CHECKOUT / "Makefile").read_text()
TARGETS: Final = [found[1] for found in re.finditer(r"^([a-z][a-z-]*):(?!=)", MAKEFILE, flags=re.MULTILINE)]
FORBIDDEN: Final = [
    # In pieces, so that this file is not found itself.
    *(".".join(words) for words in (("pypi", "org"), ("npmjs", "org"), ("npmjs", "com"), ("anaconda", "org"))),
    *(".".join(words) for words in (("maven", "org"), ("maven", "apache", "org"), ("crates", "io"), ("ghcr", "io"))),
    *("python" + "hosted", "docker" + ".io", "quay" + ".io"),
    *(f"/{first}{last}/" for first, last in (("wo", "rk"), ("ro", "ot"), ("ho", "me"), ("Use", "rs"))),
]


def files() -> Iterator[Path]:
    """Give every file that belongs to the repository, without asking git: a copy may have none."""
    ignored = [line.rstrip("/") for line in (CHECKOUT / ".gitignore").read_text().splitlines() if line]
    for folder, inside, names in os.walk(CHECKOUT):
        # A pattern that begins with a slash is of the top folder alone.
        here = [one.removeprefix("/") for one in ignored if not one.startswith("/") or Path(folder) == CHECKOUT]
        mine = [one for one in inside if one != ".git" and not any(fnmatch.fnmatch(one, bad) for bad in here)]
        inside[:] = sorted(mine)
        for name in sorted(names):
            if not any(fnmatch.fnmatch(name, bad) for bad in here):
                yield Path(folder) / name


def modules(part: str) -> set[str]:
    return {path.stem for path in (CHECKOUT / part).glob("*.py")}


def test_twin_consumers_have_twin_files() -> None:
    assert modules("consumers/gateway") == TWIN_FILES
    assert modules("consumers/cluster") == TWIN_FILES


def test_a_modules_name_says_what_it_is_about() -> None:
    named = {path for part in PARTS for path in (CHECKOUT / part).rglob("*.py")}
    assert [path for path in named if path.stem.strip("_") in BANNED_NAMES] == []
    assert [path for path in named if path.parent.name in BANNED_NAMES] == []


def test_no_module_is_too_long_to_read() -> None:
    long = {path.name: len(path.read_text().splitlines()) for part in PARTS for path in (CHECKOUT / part).rglob("*.py")}
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


def test_the_readmes_tree_is_the_disk() -> None:
    block = README.split("## Find your way")[1].split("```text\n")[1].split("```")[0]
    drawn = [line.split("/")[0] for line in block.splitlines()]
    there = {path.relative_to(CHECKOUT).parts[0] for path in files() if len(path.relative_to(CHECKOUT).parts) > 1}
    assert sorted(drawn) == sorted(name for name in there if not name.startswith("."))


def test_the_readme_names_the_kinds_of_tests_there_are() -> None:
    (line,) = (line for line in README.splitlines() if line.startswith("tests/ "))
    named = re.split(r", ", re.split(r"\s{2,}", line)[-1])
    kinds = {path.parent.name for path in files() if path.is_relative_to(CHECKOUT / "tests") and path.suffix == ".py"}
    assert sorted(named) == sorted(kinds - {"tests"})


def imported(part: str) -> set[str]:
    """Give the packages that a part's modules import, early or late."""
    found: set[str] = set()
    for path in (CHECKOUT / part).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import():
                    found |= {name.name.partition(".")[0] for name in node.names}
                case ast.ImportFrom(module=str(module), level=0):
                    found.add(module.partition(".")[0])
    return found - set(PARTS) - sys.stdlib_module_names


def test_what_the_kit_imports_is_installed_without_what_developers_need() -> None:
    pins = "".join((CHECKOUT / f"requirements{which}.txt").read_text() for which in ("", "-gateway", "-bigdl"))
    pinned = {name.lower().replace("_", "-") for name in re.findall(r"^([\w.-]+)==", pins, flags=re.MULTILINE)}
    owners = packages_distributions()
    needed = {module for part in PARTS for module in imported(part)}
    missing = {
        module for module in needed if not pinned & {name.lower().replace("_", "-") for name in owners.get(module, ())}
    }
    assert missing == set()


def test_each_rule_that_is_switched_off_says_why() -> None:
    inside, silent = False, []
    for line in PYPROJECT.split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.flake8")[0].splitlines():
        stripped = line.strip()
        entry = re.match(r'"[A-Z]+[0-9]*"', stripped) or re.match(r'"[^"]+" = \["', stripped)
        inside = inside or stripped == "ignore = ["
        if inside and entry and " # " not in line:
            silent.append(stripped)
    assert inside
    assert silent == []


def test_each_ignored_type_error_says_its_code() -> None:
    bare = re.compile(r"type: ignore(?!\[)")
    mine = [path for path in files() if path.suffix == ".py" and path != Path(__file__)]
    assert [path.name for path in mine if bare.search(path.read_text())] == []


def test_each_target_says_what_it_does() -> None:
    described = re.findall(r"^([a-z][a-z-]*):.*## \S", MAKEFILE, flags=re.MULTILINE)
    assert sorted(described) == sorted(set(TARGETS) - {"help"})
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert sorted(phony.split()) == sorted(TARGETS)


def made(*arguments: str) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    if make is None:
        pytest.fail("make is not installed; install it with: apt-get install make")
    return subprocess.run([make, "-C", str(CHECKOUT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_can_be_made(target: str) -> None:
    found = made("-n", target)
    assert found.returncode == 0, found.stderr


def test_make_alone_lists_every_target_in_order() -> None:
    found = made()
    listed = re.findall(r"^  make ([a-z-]+) +\S", found.stdout, flags=re.MULTILINE)
    assert listed == [target for target in TARGETS if target != "help"]


def test_the_design_s_targets_are_there() -> None:
    promised = {"setup", "demo", "test", "unit", "bench", "acceptance", "lint", "fix", "check", "clean"}
    assert promised <= set(TARGETS)


def test_ci_runs_what_the_readme_says() -> None:
    assert (CHECKOUT / ".ci" / "run").read_text().rstrip().endswith("make check")
    assert re.search(r"^check: lint test ", MAKEFILE, flags=re.MULTILINE)


def test_the_newest_entry_of_the_changelog_is_this_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (CHECKOUT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == tomllib.loads(PYPROJECT)["project"]["version"]


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_file_names_a_registry_or_somebodys_machine(word: str) -> None:
    naming = []
    for path in files():
        try:
            content = path.read_text()
        except UnicodeDecodeError:
            continue  # a model, a picture
        if word in content:
            naming.append(str(path.relative_to(CHECKOUT)))
    assert naming == []


def test_the_words_that_no_file_may_name_would_be_found() -> None:
    assert any(word in f"https://{'pypi'}.org/simple" for word in FORBIDDEN)
    assert any(word in f"/{'work'}/main" for word in FORBIDDEN)
    walked = {path.relative_to(CHECKOUT).as_posix() for path in files()}
    assert {"README.md", ".ci/run", "edgewise/cli/parts.py", "tests/unit/test_house.py"} <= walked
    assert not any(name.startswith((".venv", ".git/", "runs/")) for name in walked)
