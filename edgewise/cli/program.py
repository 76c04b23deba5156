"""The program: its commands are added by the modules beside this one."""

import typer

app = typer.Typer(
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Edge or cluster? The same camera frames to both, over MQTT and Kafka, and an answer that may be trusted.",
)
