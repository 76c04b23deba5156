"""The command line: the one place that knows every part, and explains what went wrong in one line."""

import signal
import sys

import typer
from pydantic import ValidationError

from edgewise.cli import cameras, models, parts, runs, secured  # noqa: F401 - each adds its commands, in the order of the list
from edgewise.cli.program import app
from edgewise.errors import ConfigError, EdgewiseError
from edgewise.log import LOGGER


def main() -> None:
    """Run a command; explain what can be explained in one line, and leave with its exit code."""
    # A shell starts what it puts in the background deaf to Ctrl-C, and scripts stop us with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], prog_name="edgewise", standalone_mode=False))
    except EdgewiseError as error:
        problem = error
    except typer.TyperException as error:
        asked = getattr(error, "ctx", None)
        where = asked.command_path if asked else "edgewise"
        problem = ConfigError(f"{error.format_message().rstrip('.')}; see: {where} --help")
    except ValidationError as error:
        wrong = error.errors()[0]
        problem = ConfigError(wrong["msg"].removeprefix("Value error, "))
        if wrong["loc"]:  # otherwise it is no single value, but how they go together
            option = "--" + str(wrong["loc"][0]).replace("_", "-")
            option = " ".join([option, *(part for part in wrong["loc"][1:] if isinstance(part, str))])
            problem = ConfigError(f"{option} {wrong['input']!r}: {problem}")
    LOGGER.error("edgewise: %s", problem)
    sys.exit(problem.exit_code)
