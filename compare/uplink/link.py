"""Two network name spaces with a line between them: tc's netem where the kernel has it, else a relay of our own."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compare.uplink.line import Shape
from compare.uplink.relay import DEVICE
from edgewise import processes
from edgewise.clock import Deadline, SystemClock
from edgewise.errors import MissingError, UnreachableError
from edgewise.processes import Child

EDGE_IP, SITE_IP = "10.77.0.1", "10.77.0.2"
RELAY_S: Final = 20.0
NETEM: Final = "tc netem"
RELAY: Final = "a relay in user space, for this kernel has no netem"


@dataclass
class Link:
    """The two places, joined."""

    edge: str
    site: str
    how: str
    _shape_file: Path
    _relay: Child | None

    def inside(self, space: str, command: Sequence[str]) -> list[str]:
        """Give the command line that runs a command in one of the places."""
        return ["ip", "netns", "exec", space, *command]

    def become(self, shape: Shape) -> None:
        """Change the line, at both ends."""
        if self._relay is not None:
            self._shape_file.write_text(str(shape))
            self._relay.send(signal.SIGHUP)
            return
        for space in (self.edge, self.site):
            _do(*self.inside(space, ["tc", "qdisc", "replace", "dev", DEVICE, "root", *shape.netem()]))


def refuse_if_impossible() -> None:
    """Raise MissingError where there is no right to make name spaces, or nothing to make them with."""
    if os.geteuid() != 0:
        raise MissingError("network name spaces need root; run it as root, or in a machine that is yours")
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            raise MissingError(f"{program} is not installed; install it with: apt-get install iproute2")


@contextmanager
def joined(shape: Shape, *, folder: Path) -> Iterator[Link]:
    """Give an edge and a site with a line between them; take them away afterwards.

    Raises:
        MissingError: no root, no iproute2, or a kernel with neither netem nor TUN devices.
    """
    refuse_if_impossible()
    edge, site = f"edgewise-edge-{os.getpid()}", f"edgewise-site-{os.getpid()}"
    file, relay = folder / "shape", None
    try:
        for space in (edge, site):
            _do("ip", "netns", "add", space)
            _do("ip", "-n", space, "link", "set", "lo", "up")
        netem = _netem(edge, shape)
        if netem:
            _do(*("ip", "-n", edge, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", site))
        else:
            relay = _relayed(edge, site, file, shape)
        for space, own, other in ((edge, EDGE_IP, SITE_IP), (site, SITE_IP, EDGE_IP)):
            _do("ip", "-n", space, "address", "add", own, "peer", other, "dev", DEVICE)
            _do("ip", "-n", space, "link", "set", DEVICE, "up")
        link = Link(edge, site, NETEM if netem else RELAY, file, relay)
        link.become(shape)
        yield link
    finally:
        if relay is not None:
            relay.kill()
        for space in (edge, site):
            subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)  # noqa: S603, S607


def _netem(space: str, shape: Shape) -> bool:
    """Say whether the kernel has netem, by trying it where it harms nobody."""
    command = ["ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", "lo", "root", *shape.netem()]
    if subprocess.run(command, capture_output=True, check=False).returncode:  # noqa: S603 - a fixed command
        return False
    _do("ip", "netns", "exec", space, "tc", "qdisc", "del", "dev", "lo", "root")
    return True


def _relayed(edge: str, site: str, file: Path, shape: Shape) -> Child:
    if not Path("/dev/net/tun").exists():
        raise MissingError("this kernel has neither netem nor TUN devices; try: modprobe sch_netem")
    file.write_text(str(shape))
    command = [sys.executable, "-m", "compare.uplink.relay", edge, site, str(file)]
    child = processes.start(command, name="the relay", log=file.with_name("relay.log"))
    deadline = Deadline(SystemClock(), within_s=RELAY_S)
    while "ready" not in child.tail():
        if not child.running() or deadline.passed():
            child.kill()
            raise UnreachableError("the relay", at=f"{edge} and {site}", hint=f"it said:\n{child.tail()}")
        deadline.pause(for_s=0.05)
    return child


def _do(*command: str) -> None:
    """Do what must work.

    Raises:
        MissingError: it does not; the text has its words.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ip and tc
    if done.returncode:
        raise MissingError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}; see docs/operations.md")
