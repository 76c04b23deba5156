"""The program: its commands are added by the modules beside this one."""

from typing import Annotated

import typer

from edgewise import __version__
from edgewise.show import text

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Edge or cluster? The same camera frames to both, over MQTT and Kafka, and an answer that may be trusted.",
)


@app.callback(invoke_without_command=True)
def program(
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False,  # noqa: FBT002
) -> None:
    """Take what stands before any command."""
    if version:
        text(f"edgewise {__version__}")
        raise typer.Exit
