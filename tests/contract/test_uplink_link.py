"""Two places of this machine with a line between them: what goes over it takes as long as the line says."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from compare.uplink.line import Shape
from compare.uplink.link import NETEM, RELAY, SITE_IP, Link, joined
from edgewise.errors import MissingError

SERVER = f"""
import socket
with socket.create_server(("{SITE_IP}", 5000)) as listening:
    print("ready", flush=True)
    for _ in range(2):
        with listening.accept()[0] as client:
            while client.recv(65536):
                pass
            client.sendall(b"x")
"""
CLIENT = f"""
import socket, sys, time
began = time.monotonic()
with socket.create_connection(("{SITE_IP}", 5000)) as server:
    server.sendall(bytes(int(sys.argv[1])))
    server.shutdown(socket.SHUT_WR)
    assert server.recv(1)
print(time.monotonic() - began)
"""


def took_s(link: Link, size_bytes: int) -> float:
    """Send so much from the edge to the site, and wait for one byte back."""
    command = link.inside(link.edge, [sys.executable, "-c", CLIENT, str(size_bytes)])
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout)


def spaces() -> Sequence[str]:
    listed = subprocess.run(["/usr/bin/env", "ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if str(os.getpid()) in line]


def may_make_name_spaces() -> bool:
    made = subprocess.run(["/usr/bin/env", "unshare", "--net", "true"], capture_output=True, check=False)
    return os.geteuid() == 0 and made.returncode == 0 and shutil.which("tc") is not None


def test_a_line_takes_its_time_and_leaves_nothing_behind(tmp_path: Path) -> None:
    if not may_make_name_spaces():
        with (
            pytest.raises(MissingError, match=r"root|ip netns|not installed"),
            joined(Shape(1000, 0, 0), folder=tmp_path),
        ):
            pass
        return
    with joined(Shape(100_000, 100, 0), folder=tmp_path) as link:
        assert link.how in {NETEM, RELAY}
        with subprocess.Popen(link.inside(link.site, [sys.executable, "-c", SERVER]), stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            # There and back to connect, there and back for the answer: twice 200 ms.
            assert 0.4 <= took_s(link, 1) < 1.4
            link.become(Shape(1000, 0, 0))
            # 100 KB at a megabit a second.
            assert 0.8 <= took_s(link, 100_000) < 4
        assert len(spaces()) == 2
    assert spaces() == []
