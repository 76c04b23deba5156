"""The README, done as a newcomer does it: every command, in the order they stand, with what it promises to print."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from edgewise import processes
from edgewise.places import CHECKOUT, cache
from edgewise.processes import Child
from tests.real import eventually

README: Final = (CHECKOUT / "README.md").read_text()
PAGES: Final = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
BLOCKS: Final = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS: Final = [line for block in BLOCKS for line in block.splitlines() if line and not line.startswith("#")]
READY: Final = {
    "edgewise up": r"^kafka +\S+:\d+$",
    "edgewise bridge": r"^bridge: carrying ",
    "edgewise gateway": r"^gateway: classifying ",
    "edgewise cluster": r"^cluster: ready ",
}
"""Commands that go on until Ctrl-C, and what they say when another may begin."""
(SAMPLE,) = (block for block in re.findall(r"```text\n(.*?)```", README, flags=re.DOTALL) if " VALID " in block)
"""A real report, less some of its tables."""
DEMO: Final = "make demo"
SET_UP_FROM: Final = ("requirements.txt", "requirements-gateway.txt", "requirements-bigdl.txt", "pyproject.toml")
WITHIN_S: Final = 600.0


def outside_make() -> dict[str, str]:
    """Give this process's environment without what `make test`, which runs us, would tell another make."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Give a new user's environment: the virtual one is active, no brokers are remembered.

    What was downloaded is there, by links: the brokers of other people's ``edgewise up``,
    which are remembered beside it, must not be found.
    """
    for entry in cache().iterdir():
        if entry.name != "up":
            (tmp_path / entry.name).symlink_to(entry)
    mine = {
        name: value for name, value in outside_make().items() if not name.startswith("EDGEWISE_") and name != "COLUMNS"
    }
    path = f"{CHECKOUT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return mine | {"PATH": path, "EDGEWISE_CACHE": str(tmp_path)}


@pytest.fixture
def runs() -> Iterator[Path]:
    """Remove the run folders that the test makes, and no others."""
    folder = CHECKOUT / "runs"
    before = set(folder.iterdir()) if folder.exists() else set()
    yield folder
    for made in set(folder.iterdir()) - before if folder.exists() else set():
        shutil.rmtree(made)


def done(command: str, *, env: Mapping[str, str]) -> str:
    """Run a command to its end, which must be a good one; give its stdout."""
    typed = ["/bin/bash", "-c", command]
    found = subprocess.run(typed, cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False, timeout=WITHIN_S)
    assert found.returncode == 0, f"{command}\n{found.stdout}\n{found.stderr}"
    assert "Traceback" not in found.stderr, f"{command}\n{found.stderr}"
    return found.stdout


def started(command: str, *, env: Mapping[str, str], log: Path) -> Child:
    """Start a command that goes on; give it when it says that it is ready."""
    child = processes.start(["/bin/bash", "-c", command], name=command, log=log, env=env, cwd=CHECKOUT)
    ready = re.compile(READY[command], re.MULTILINE)
    eventually(lambda: ready.search(log.read_text()) or not child.running(), within_s=WITHIN_S)
    assert child.running(), child.tail()
    return child


def shape(report: str) -> list[tuple[str, list[str]]]:
    """Give each table's title and headings: they stand above a rule."""
    lines = report.splitlines()
    return [
        (lines[place - 2].strip(), lines[place - 1].split())
        for place, line in enumerate(lines)
        if set(line.strip()) == {"─"} and place > 1
    ]


def within(some: Sequence[object], more: Sequence[object]) -> bool:
    """Say whether all of some stand in more, in the same order."""
    rest = iter(more)
    return all(one in rest for one in some)


@pytest.mark.brokers
@pytest.mark.timeout(1500)
def test_every_command_does_what_the_readme_says(
    environment: dict[str, str], runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    logs = tmp_path_factory.mktemp("logs")
    printed: dict[str, str] = {}
    running: list[Child] = []
    try:
        for number, command in enumerate(COMMANDS):
            if command in READY:
                running.append(started(command, env=environment, log=logs / f"{number}.log"))
            else:
                printed[command] = done(command, env=environment)
        for child in reversed(running):
            child.send(signal.SIGINT)
            assert child.wait(within_s=30) == 130, child.tail(lines=40)
    finally:
        for child in running:
            child.kill()
    for command, report in printed.items():
        if command == DEMO:
            assert within(shape(SAMPLE), shape(report)), "the README's report looks otherwise"
        if command == DEMO or command.startswith("edgewise compare"):
            assert "\n VALID   run " in f"\n{report}", "make says what it runs, then comes the report"
            last = Path(report.splitlines()[-1])
            assert last.parent == Path(runs.name)
            assert (CHECKOUT / last / "summary.json").exists()
            assert (CHECKOUT / last / "manifest.json").exists()
    assert len(printed["edgewise tail results --limit 3"].splitlines()) == 3


def test_a_report_in_the_readme_has_the_headings_that_a_report_has() -> None:
    from tests.unit.test_report import TWO_TEXT

    assert within(shape(SAMPLE), shape(TWO_TEXT))
    assert len(shape(SAMPLE)) >= 3, "it has tables"
    assert re.fullmatch(r"runs/\d{8}T\d{6}Z-demo", SAMPLE.splitlines()[-1]), "a run folder's path is the last line"


def made(*arguments: str) -> str:
    make = shutil.which("make")
    if make is None:
        pytest.fail("make is not installed; install it with: apt-get install make")
    told = subprocess.run(
        [make, *arguments], cwd=CHECKOUT, env=outside_make(), capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", README))))
def test_each_target_that_the_readme_mentions_can_be_made(target: str) -> None:
    assert made("-n", target)


def test_a_second_demo_sets_nothing_up_again() -> None:
    # Whoever edits these while tests run has not set up since; nobody else has.
    unchanged = [word for name in SET_UP_FROM for word in ("-o", name)]
    assert [line.strip() for line in made("-n", *unchanged, "demo").splitlines()] == [".venv/bin/edgewise demo"]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 120


def test_a_result_is_one_command_away() -> None:
    assert COMMANDS[0] == DEMO


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    relative = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [link for link in relative if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_that_is_linked_to_is_there(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", page.read_text()):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        headings = re.findall(r"^#+ (.*)$", target.read_text(), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", one).lower().replace(" ", "-") for one in headings}, link
