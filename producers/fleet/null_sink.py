"""An MQTT broker that confirms every frame and keeps none: what is left is the cameras' own speed."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import mqtt5

from edgewise.addresses import LOOPBACK, Address
from edgewise.mqtt.connection import whole

WITHIN_S: Final = 5.0
"""That it starts, and ends."""


class _Camera(asyncio.Protocol):
    """One camera's connection."""

    def __init__(self, open_now: set[asyncio.Transport]) -> None:
        self._in = bytearray()
        self._open_now = open_now

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server gives
        self._transport = transport
        self._open_now.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """See asyncio.Protocol."""
        self._open_now.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        """Answer every packet that is whole."""
        self._in += data
        try:
            packets = whole(self._in)
        except ValueError:
            self._transport.abort()
            return
        if answers := b"".join(_answer(packet) for packet in packets):
            self._transport.write(answers)


def _answer(packet: mqtt5.Packet) -> bytes:
    match packet:
        case mqtt5.ConnectPacket():
            return mqtt5.ConnAckPacket().write()
        case mqtt5.PublishPacket(packet_id=int(packet_id)):
            return mqtt5.PubAckPacket(packet_id).write()
        case mqtt5.PingReqPacket():
            return mqtt5.PingRespPacket().write()
        case _:
            return b""


@contextmanager
def null_sink() -> Iterator[str]:
    """Serve while the block lasts, in a thread; give the address, host:port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="edgewise-null-sink", daemon=True)
    thread.start()
    open_now: set[asyncio.Transport] = set()
    serving = loop.create_server(lambda: _Camera(open_now), LOOPBACK, 0)
    server = asyncio.run_coroutine_threadsafe(serving, loop).result(WITHIN_S)
    try:
        yield str(Address(LOOPBACK, server.sockets[0].getsockname()[1]))
    finally:
        asyncio.run_coroutine_threadsafe(_end(server, open_now), loop).result(WITHIN_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(WITHIN_S)
        loop.close()


async def _end(server: asyncio.Server, open_now: set[asyncio.Transport]) -> None:
    server.close()
    for transport in [*open_now]:
        transport.abort()
    await asyncio.sleep(0)  # each is closed in the loop's next turn
