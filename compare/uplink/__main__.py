"""What a slow uplink does to each tier, in one table: ``python -m compare.uplink``.

At the edge: cameras, mosquitto, bridge, gateway. On the site, behind the line: Kafka, cluster, ledger. Kafka and its
site stay the same; the line becomes another one from run to run.
"""

import json
import sys
import tempfile
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from brokers.kafka import rehearsal
from brokers.kafka import settings as kafka
from brokers.mqtt.mosquitto import program
from compare.uplink import line
from compare.uplink.line import Shape
from compare.uplink.link import SITE_IP, Link, joined
from edgewise import addresses, jars, java, processes, show
from edgewise.clock import Deadline, SystemClock, utc_name
from edgewise.errors import EdgewiseError, MissingError, UnreachableError
from edgewise.parts import say
from edgewise.processes import Child

LINES: Final = ("100000kbit/0ms/0%", "10000kbit/20ms/0%", "4000kbit/50ms/1%", "1000kbit/50ms/1%")
KAFKA_AT: Final = f"{SITE_IP}:{addresses.KAFKA_PORT}"
MQTT_AT: Final = f"{addresses.LOOPBACK}:{addresses.MQTT_PORT}"
START_S: Final = 120.0
"""For each broker and part."""
TIERS: Final = ("gateway", "cluster")


class Places:
    """What runs at the edge and on the site, each process in its place."""

    def __init__(self, link: Link, folder: Path) -> None:
        self._link, self._folder = link, folder
        self.children: list[Child] = []

    def start(self, space: str, name: str, command: Sequence[str]) -> Child:
        """Start a program in a place."""
        child = processes.start(self._link.inside(space, command), name=name, log=self._folder / f"{name}.log")
        self.children.append(child)
        return child

    def part(self, space: str, *words: str, log: str = "") -> Child:
        """Start one of the kit's parts in a place."""
        mqtt = ("--mqtt", MQTT_AT) if words[0] in {"bridge", "gateway", "fleet"} else ()
        command = [sys.executable, "-m", "edgewise", *words, "--kafka", KAFKA_AT, *mqtt]
        return self.start(space, log or words[0], command)

    def brokers(self) -> None:
        """Start Kafka on the site and mosquitto at the edge; return when both can be reached."""
        found = program()
        if found is None:
            raise MissingError("mosquitto is not installed; install it with: apt-get install mosquitto")
        conf = self._folder / "mosquitto.conf"
        conf.write_text(f"listener {addresses.MQTT_PORT} {addresses.LOOPBACK}\nallow_anonymous true\nuser root\n")
        broker = self.start(self._link.edge, "mosquitto", [found, "-c", str(conf)])
        runtime, lib = java.find(), jars.fetch(jars.KAFKA)
        ready, data = rehearsal.ready(runtime, lib=lib), self._folder / "kafka"
        rehearsal.format_folder(data, place=ready)
        file = kafka.write(data, host=SITE_IP, port=addresses.KAFKA_PORT)
        flags = rehearsal.flags(ready)
        command = [*kafka.command(runtime, lib=lib, flags=flags), "kafka.Kafka", str(file)]
        self.await_port(self.start(self._link.site, "kafka", command), KAFKA_AT)
        self.await_port(broker, MQTT_AT, space=self._link.edge)

    def await_port(self, child: Child, at: str, *, space: str = "") -> None:
        """Return when somebody listens there, as seen from a place."""
        host, _, port = at.partition(":")
        deadline, number = Deadline(SystemClock(), within_s=START_S), 0
        while True:
            number += 1
            knock = ["bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}"]
            tried = self.start(space or self._link.site, f"knock-{number}", knock)
            self.children.remove(tried)
            if tried.wait(within_s=5.0) == 0:
                return
            tried.kill()
            if deadline.passed() or not child.running():
                raise UnreachableError(child.name, at=at, hint=f"it said:\n{child.tail()}")
            deadline.pause(for_s=0.2)

    def stop(self) -> None:
        """End everything, the brokers last."""
        processes.stop_all(self.children[2:], within_s=30.0)
        processes.stop_all(self.children[:2], within_s=15.0)


def measured(places: Places, link: Link, shape: Shape, *, run: str, load: Sequence[str], folder: Path) -> Any:  # noqa: ANN401
    """Let a fleet send over a line; give the ledger's summary."""
    link.become(shape)
    out = folder / run
    ledger = places.part(
        link.site, "ledger", "--run", run, "--out", str(out), "--tiers", ",".join(TIERS), log=f"ledger-{run}"
    )
    fleet = places.part(link.edge, "fleet", "--run", run, *load, log=f"fleet-{run}")
    for child, within_s in ((fleet, 600.0), (ledger, 300.0)):
        if child.wait(within_s=within_s) is None or not (child is ledger or child.exit_code == 0):
            raise UnreachableError(child.name, at=str(shape), hint=f"it did not end well:\n{child.tail()}")
        places.children.remove(child)
    return json.loads((out / "summary.json").read_text())


def table(rows: Sequence[tuple[Shape, Any]]) -> Table:
    """Lay out what each line did to each tier."""
    laid = Table(box=box.SIMPLE, show_edge=False)
    laid.add_column("line: rate, delay each way, loss", no_wrap=True)
    laid.add_column("dropped at source", justify="right")
    for tier in TIERS:
        for what in ("p50 ms", "p90 ms", "missing", "in 500 ms %"):
            laid.add_column(f"{tier} {what}", justify="right")
    for shape, found in rows:
        cells = [str(shape), show.count(found["frames"]["dropped_at_source"])]
        for tier in TIERS:
            of = found["tiers"][tier]
            times = of["latency_ms"] or {}
            cells += [show.cell(times.get("p50")), show.cell(times.get("p90"))]
            cells += [show.count(of["missing"]), show.percent(of["on_time"])]
        laid.add_row(*cells)
    return laid


def measure_all(shapes: Sequence[Shape], load: Sequence[str], *, engine: str) -> Sequence[tuple[Shape, Any]]:
    """Measure each line in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="edgewise-uplink-")))
        link = stack.enter_context(joined(shapes[0], folder=folder))
        say(f"uplink: by {link.how}")
        places = Places(link, folder)
        stack.callback(places.stop)
        places.brokers()
        stem = utc_name(SystemClock().now_ns())
        first = f"{stem}-1"
        checkpoint = ("--checkpoint", str(folder / "checkpoint"))
        places.part(link.site, "cluster", "--master", "local[1]", "--engine", engine, "--run", first, *checkpoint)
        places.part(link.edge, "bridge")
        places.part(link.edge, "gateway", "--engine", engine, "--threads", "1")
        rows = []
        for number, shape in enumerate(shapes, start=1):
            say(f"uplink: {shape} ...")
            # The cluster opens the first run, and stays.
            wait = ("--wait-for", "bridge,gateway,cluster" if number == 1 else "bridge,gateway", "--wait-s", "180")
            run = f"{stem}-{number}"
            rows.append((shape, measured(places, link, shape, run=run, load=[*load, *wait], folder=folder)))
        return rows


def main() -> None:
    """Read the command line, measure, print."""
    parser = ArgumentParser(
        prog="python -m compare.uplink", description=__doc__, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("lines", nargs="*", default=LINES, metavar="RATEkbit/DELAYms/LOSS%", help="lines to measure")
    parser.add_argument("--cameras", type=int, default=4, help="at the edge")
    parser.add_argument("--rate-hz", type=float, default=10.0, help="frames a second of each camera")
    parser.add_argument("--frames", type=int, default=300, help="of each camera, over each line")
    parser.add_argument("--codec", default="raw", help="raw, png, jpeg or text")
    parser.add_argument("--engine", default="onnx", help="of both tiers")
    asked = parser.parse_args()
    load = ["--cameras", str(asked.cameras), "--rate-hz", str(asked.rate_hz), "--frames", str(asked.frames)]
    try:
        shapes = [line.parse(text) for text in asked.lines]
        rows = measure_all(shapes, [*load, "--codec", asked.codec], engine=asked.engine)
    except EdgewiseError as error:
        say(f"edgewise: {error}")
        sys.exit(error.exit_code)
    Console(width=show.REPORT_COLUMNS + 40).print(table(rows))


if __name__ == "__main__":
    main()
