"""The watcher as a process: a terminal that is drawn again every second, or a server of the page."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self
from urllib.parse import quote

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, model_validator
from rich.console import Console
from rich.live import Live

from consumers.watch import terminal
from consumers.watch.feed import Asked, Feed, Truth
from consumers.watch.guard import is_loopback
from consumers.watch.web import application
from edgewise import dataset, topics
from edgewise.clock import Clock, Deadline, SystemClock
from edgewise.errors import ConfigError
from edgewise.kafka import Client
from edgewise.parts import Stop, say

PORT: Final = 8321
REFRESH_S: Final = 1.0
LISTENERS: Final = 64
"""Connections that wait to be taken."""
CONCURRENT_MOST: Final = 200
"""Connections that are answered."""
TOKEN_LEAST: Final = 16


class WatchSettings(BaseModel):
    """What a watcher is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kafka: str
    """Kafka, host:port."""
    kafka_client: Client = Client.AUTO
    """Which library talks to Kafka."""
    run: str = ""
    """The run to watch; empty: whichever is the newest."""
    runs: Path = Path("runs")
    """Where the folders of runs are, for the verdict."""
    report: Path | None = None
    """The run's folder, if it is elsewhere."""
    split_seed: int | None = Field(default=None, ge=0)
    """The seed by which the tiers share the frames out, where that is not the fleet's."""
    web: bool = False
    """Serve a page instead of drawing on the terminal."""
    host: str = "127.0.0.1"
    """Address that the page is served at."""
    port: int = Field(default=PORT, ge=0, le=65_535)
    """Of the page; 0 is a free one."""
    token: str = ""
    """What who asks must show; needed beyond the loopback."""

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        """Refuse to show a run to a network without a token."""
        if not self.web:
            return self
        if not is_loopback(self.host) and not self.token:
            raise ConfigError(
                f"--host {self.host} is seen by others: give --token-file with it, of {TOKEN_LEAST} characters or more"
            )
        if self.token and len(self.token) < TOKEN_LEAST:
            raise ConfigError(f"--token-file has {len(self.token)} characters, and needs {TOKEN_LEAST} or more")
        return self


def run(settings: WatchSettings) -> int:
    """Watch until Ctrl-C or, on the terminal and of a run that was named, until its verdict; give the exit code."""
    stop = Stop()
    with topics.administration(settings.kafka):
        pass  # it answers; its topics are made by the parts, who know how many partitions are wanted
    asked = Asked(
        settings.kafka, settings.kafka_client, settings.run, settings.runs, settings.report, settings.split_seed
    )
    clock = SystemClock()
    truth = Truth(lambda split: dataset.load(split, say=say).labels)
    truth(dataset.NAME, "test")  # now, and not under the eyes of who looks
    feed = Feed(asked, clock=clock, truth=truth)
    stop.holding = True
    feed.start()
    try:
        if settings.web:
            serve(settings, feed)
        else:
            draw(feed, clock=clock, done=lambda: stop.asked or bool(settings.run and feed.finished()))
    finally:
        feed.stop()
    return stop.exit_code


def draw(feed: Feed, *, clock: Clock, done: Callable[[], bool]) -> None:
    """Draw on the terminal, every second, what has room there; at the end all of it."""
    console = Console()
    with Live(console=console, auto_refresh=False) as live:
        while not (done() or feed.stopped.is_set()):
            live.update(terminal.rendered(feed.look(), on=console), refresh=True)
            Deadline(clock, within_s=REFRESH_S).pause(for_s=REFRESH_S)
        live.update(terminal.rendered(feed.look()))


def serve(settings: WatchSettings, feed: Feed) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=LISTENERS)
    except OSError as error:
        raise ConfigError(
            f"--host {settings.host} --port {settings.port} cannot be taken: {error.strerror}; choose another"
        ) from error
    with listener:
        port = listener.getsockname()[1]
        app = application(feed, token=settings.token, port=port)
        config = uvicorn.Config(
            app, log_level="critical", timeout_graceful_shutdown=1, lifespan="off", limit_concurrency=CONCURRENT_MOST
        )
        server = _Server(config, feed)
        announce(settings, port)
        server.run(sockets=[listener])


def announce(settings: WatchSettings, port: int) -> None:
    """Say where the page is. With a token that goes to stdout: what is said on stderr may be kept, and hides it."""
    where = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{where}:{port}/"
    if settings.token:
        print(f"{address}?token={quote(settings.token, safe='')}", flush=True)  # noqa: T201 - the result
    say(f"watch: {address}")


class _Server(uvicorn.Server):
    """Ends the streams first: they would hold the server up; ends with what it shows, too."""

    def __init__(self, config: uvicorn.Config, feed: Feed) -> None:
        super().__init__(config)
        self._feed = feed

    def handle_exit(self, sig: int, frame: object) -> None:
        """See uvicorn."""
        self._feed.stopped.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn's own frame type

    async def on_tick(self, counter: int) -> bool:
        """See uvicorn."""
        return await super().on_tick(counter) or self._feed.stopped.is_set()
