"""The line as a process of our own, for kernels without netem: two TUN devices, and each packet carried between them.

It is given the two name spaces and a file with the line's shape, which it reads again on SIGHUP.
"""

import ctypes
import fcntl
import os
import random
import select
import signal
import struct
import sys
from pathlib import Path
from typing import Final

from compare.uplink import line
from compare.uplink.line import Line
from edgewise.clock import SECOND_NS, SystemClock
from edgewise.parts import say

DEVICE: Final = "uplink"
NAMED: Final = Path("/run/netns")
"""Where ``ip netns`` keeps its name spaces."""
CLONE_NEWNET: Final = 0x40000000
"""From linux/sched.h."""
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
"""From linux/if_tun.h."""
PACKET_MAX_BYTES: Final = 65_535
IDLE_S: Final = 0.5
SEED: Final = 9


def device(space: str) -> int:
    """Make the device in a name space; give what reads and writes its packets, wherever this process is."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (NAMED / space).open() as entered:
        if libc.setns(entered.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"name space {space}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def carry(ends: tuple[int, int], shape: Path) -> None:
    """Carry packets both ways until this process is ended."""
    clock = SystemClock()
    first, second = (Line(line.parse(shape.read_text()), random.Random(SEED + place)) for place in (0, 1))  # noqa: S311
    ways = {ends[0]: (first, ends[1]), ends[1]: (second, ends[0])}

    def again(*_: object) -> None:
        first.shape = second.shape = line.parse(shape.read_text())

    signal.signal(signal.SIGHUP, again)
    say("relay: ready")
    while True:
        due_ns = [one.next_ns() for one in (first, second)]
        soonest_ns = min((one for one in due_ns if one is not None), default=None)
        left_s = IDLE_S if soonest_ns is None else max(0.0, (soonest_ns - clock.ticks_ns()) / SECOND_NS)
        ready, _, _ = select.select(ends, (), (), left_s)
        for end in ready:
            ways[end][0].offer(os.read(end, PACKET_MAX_BYTES), now_ns=clock.ticks_ns())
        for way, to in ways.values():
            for packet in way.out(now_ns=clock.ticks_ns()):
                os.write(to, packet)


if __name__ == "__main__":
    edge, site, file = sys.argv[1:]
    carry((device(edge), device(site)), Path(file))
