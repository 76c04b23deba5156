"""Whether this machine, and the broker where that can be known, bears a connection for each camera.

A connection takes an open file on either side, and one of this machine's local ports.
"""

import resource
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

from edgewise import addresses
from edgewise.errors import ConfigError
from producers.fleet.settings import FleetSettings

SPARE: Final = 100
"""Of this process beside its cameras: libraries, Kafka, the data set."""
BROKERS_SPARE: Final = 50
"""Of a broker beside the cameras: listeners, log, bridge and gateway."""
PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
"""First and last port that Linux gives to connections that do not ask for one."""
HERE: Final = {"127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"}  # noqa: S104 - where others listen
"""Addresses that a broker on this machine listens on for all, or for this machine."""


def allow(settings: FleetSettings) -> None:
    """Raise this process' limit as far as its cameras need; processes started later have the same.

    Raises:
        ConfigError: it may not be raised so far, or the broker of this machine has too low a limit, or there are
            not enough local ports.
    """
    have(settings.lines(0), cameras=settings.cameras)
    ports = local_ports()
    if ports is not None and ports < settings.lines():
        raise ConfigError(
            f"--cameras {settings.cameras}: this machine has {ports:,} local ports for connections to one address, and "
            f"{settings.lines():,} are needed; give it more (sysctl net.ipv4.ip_local_port_range='1024 65535'), share "
            "them with --connections, or divide the fleet among machines"
        )
    theirs, needed = of_broker(settings.mqtt), settings.lines() + BROKERS_SPARE
    if theirs is not None and theirs < needed:
        raise ConfigError(
            f"--cameras {settings.cameras}: the MQTT broker at {settings.mqtt} may open {theirs:,} files and needs "
            f"{needed:,}; start it again with a higher limit (ulimit -n)"
        )


def local_ports() -> int | None:
    """Count the connections that this machine may have to one address; None if it does not say."""
    with suppress(OSError, ValueError):
        first, last = (int(port) for port in PORTS.read_text().split())
        return last - first + 1
    return None


def have(connections: int, *, cameras: int) -> None:
    """Raise this process' limit to so many connections and what else it has open.

    Raises:
        ConfigError: it may not be raised so far.
    """
    needed = connections + SPARE
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < needed:
        raise ConfigError(
            f"--cameras {cameras}: a process needs {needed:,} open files and may have {most:,}; "
            "raise the hard limit (ulimit -Hn), or divide the fleet with --processes"
        )
    if now != resource.RLIM_INFINITY and now < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))


def of_broker(address: str) -> int | None:
    """Give the limit of the process that listens there; None if it is another machine's, or another user's."""
    where = addresses.parse(address, option="--mqtt")
    if where.host not in {"localhost", addresses.LOOPBACK}:
        return None
    try:
        listening = (
            one
            for one in psutil.net_connections("tcp")
            if one.status == psutil.CONN_LISTEN and one.laddr.port == where.port and one.laddr.ip in HERE
        )
        pid = next((one.pid for one in listening if one.pid is not None), None)
        most = None if pid is None else psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE)[0]
    except psutil.Error:
        return None
    return None if most in {None, resource.RLIM_INFINITY} else most
