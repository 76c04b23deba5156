"""One TCP connection to an MQTT 5 broker: packets out, packets in, kept alive."""

import select
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import mqtt5

from edgewise import addresses
from edgewise.clock import SECOND_NS, Clock
from edgewise.errors import ConfigError, UnreachableError

KEEP_ALIVE_S: Final = 30
CONNECT_S: Final = 5.0
READ_BYTES: Final = 1 << 18
GOODBYE_S: Final = 1.0
GOODBYE_READS: Final = 1000
HINT: Final = "start it with: edgewise up"
TAKEN_OVER: Final = (
    "another client with this client id took over the MQTT session; give each its own --client-id, "
    "and bridges that work together --share"
)


class LostError(Exception):
    """The connection is gone; a new one may work."""


@contextmanager
def greeting(address: str) -> Iterator[None]:
    """Turn a connection that is lost while it is set up into a broker that does not answer.

    Raises:
        UnreachableError: in place of LostError.
    """
    try:
        yield
    except LostError as error:
        raise UnreachableError("MQTT broker", at=address, hint=f"it hung up at once: {error}") from error


class Connection:
    """A connection whose CONNECT was accepted.

    Nothing here waits but the constructor: ``receive`` reads what has arrived, ``send``
    writes what the socket takes and keeps the rest for ``flush``.

    Raises:
        UnreachableError: nobody answers there, or it does not speak MQTT 5.
    """

    def __init__(self, address: str, *, hello: mqtt5.ConnectPacket, clock: Clock) -> None:
        self._clock = clock
        self._in = bytearray()
        self._out = bytearray()
        self._heard_ns = self._spoke_ns = self._pinged_ns = clock.ticks_ns()
        where = addresses.parse(address, option="--mqtt")
        try:
            self._socket = socket.create_connection((where.host, where.port), CONNECT_S)
        except OSError as error:
            raise UnreachableError("MQTT broker", at=address, hint=HINT) from error
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.sendall(hello.write())
            accepted = self._first_packet()
        except (OSError, LostError, ValueError) as error:
            self._socket.close()
            raise UnreachableError("MQTT 5 broker", at=address, hint=f"it broke off the greeting: {error}") from error
        if not isinstance(accepted, mqtt5.ConnAckPacket) or accepted.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            self._socket.close()
            refusal = (
                accepted.reason_code.name if isinstance(accepted, mqtt5.ConnAckPacket) else type(accepted).__name__
            )
            raise UnreachableError("MQTT 5 broker", at=address, hint=f"it refused the connection: {refusal}")
        self.session_present = accepted.session_present
        self.broker_window = accepted.receive_max
        self._keep_alive_ns = (accepted.server_keep_alive or hello.keep_alive) * SECOND_NS
        self._socket.settimeout(0)

    def _first_packet(self) -> mqtt5.Packet:
        while True:
            chunk = self._socket.recv(READ_BYTES)
            if not chunk:
                raise LostError("it hung up")
            self._in += chunk
            if packets := self._parsed(most=1):
                return packets[0]

    def fileno(self) -> int:
        """Give the socket's number, for selectors."""
        return self._socket.fileno()

    def wants_write(self) -> bool:
        """Say whether something is left to be flushed."""
        return bool(self._out)

    def send(self, content: bytes | bytearray) -> None:
        """Write packets, as much as the socket takes now."""
        self._out += content
        self.flush()

    def flush(self) -> None:
        """Write what is left over.

        Raises:
            LostError: the connection is gone.
        """
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except BlockingIOError:
            return
        except OSError as error:
            raise LostError(str(error)) from error
        del self._out[:sent]
        self._spoke_ns = self._clock.ticks_ns()

    def receive(self) -> Sequence[mqtt5.Packet]:
        """Read the packets that are there, and do what keeps the connection alive.

        Raises:
            LostError: the connection is gone or silent.
            ConfigError: another client took this client id's session.
        """
        try:
            chunk = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            self.ping_if_quiet()
            # Only here: what nobody has read yet was heard all the same.
            if self._clock.ticks_ns() - self._heard_ns > 1.5 * self._keep_alive_ns > 0:
                raise LostError("the broker is silent") from None
            return ()
        except OSError as error:
            raise LostError(str(error)) from error
        if not chunk:
            raise LostError("the broker hung up")
        self._heard_ns = self._clock.ticks_ns()
        self._in += chunk
        packets = self._parsed()
        self.ping_if_quiet()
        return packets

    def _parsed(self, *, most: int | None = None) -> list[mqtt5.Packet]:
        try:
            packets = whole(self._in, most=most)
        except ValueError as error:
            raise LostError(f"not MQTT 5: {error}") from error
        for packet in packets:
            if isinstance(packet, mqtt5.DisconnectPacket):
                _explain(packet)
        return packets

    def ping_if_quiet(self) -> None:
        """Ping when nothing was said, or nothing heard, for half the time agreed on: QoS 0 has no answers.

        Raises:
            LostError: the connection is gone.
        """
        now_ns = self._clock.ticks_ns()
        since_ns = min(self._spoke_ns, max(self._heard_ns, self._pinged_ns))
        if now_ns - since_ns > self._keep_alive_ns / 2 > 0:
            self._pinged_ns = now_ns
            self.send(mqtt5.PingReqPacket().write())

    def wait(self, *, wait_s: float) -> None:
        """Return when something has arrived, can be written, or the time is up."""
        interest = select.POLLIN | (select.POLLOUT if self._out else 0)
        poll = select.poll()
        poll.register(self._socket, interest)
        poll.poll(wait_s * 1000)

    def close(self, *, end_session: bool = False) -> None:
        """Say goodbye; ``end_session`` has the broker forget what this client is subscribed to."""
        expiry = 0 if end_session else None
        try:
            self._socket.settimeout(CONNECT_S)
            self._socket.sendall(self._out + mqtt5.DisconnectPacket(session_expiry_interval=expiry).write())
            # Closing a socket with unread bytes resets it, and the broker may then not see our last words.
            self._socket.shutdown(socket.SHUT_WR)
            self._socket.settimeout(GOODBYE_S)
            for _ in range(GOODBYE_READS):
                if not self._socket.recv(READ_BYTES):
                    break
        except OSError:
            pass  # it is gone already
        finally:
            self._socket.close()

    def abandon(self) -> None:
        """Close without a word, as a crash would: the broker publishes the last will."""
        self._socket.close()


def whole(arrived: bytearray, *, most: int | None = None) -> list[mqtt5.Packet]:
    """Take the packets that have arrived whole, at most so many, out of what has arrived.

    Raises:
        ValueError: it is no MQTT 5.
    """
    packets: list[mqtt5.Packet] = []
    used = 0
    with memoryview(arrived) as view:
        while used < len(view) and len(packets) != most:
            try:
                packet, length = mqtt5.read(view[used:])
            except IndexError:
                break  # the rest of it has not arrived yet
            used += length
            packets.append(packet)
    del arrived[:used]
    return packets


def _explain(goodbye: mqtt5.DisconnectPacket) -> None:
    if goodbye.reason_code is mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
        raise ConfigError(TAKEN_OVER)
    raise LostError(f"the broker says {goodbye.reason_code.name.lower().replace('_', ' ')}")
