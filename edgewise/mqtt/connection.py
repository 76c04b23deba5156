"""One TCP or TLS connection to an MQTT 5 broker: packets out, packets in, kept alive."""

import select
import selectors
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import mqtt5

from edgewise.clock import SECOND_NS, Clock, Deadline
from edgewise.errors import UnreachableError
from edgewise.mqtt.access import TlsSocket
from edgewise.mqtt.link import LinkedSocket, Through
from edgewise.mqtt.opening import READ_BYTES, Greeted, greeted, whole

KEEP_ALIVE_S: Final = 30
GOODBYE_S: Final = 1.0
"""In which nothing has come of those that are left, until they are left ..."""
GOODBYE_MOST_S: Final = 5.0
"""... and in any case after so long, however many there are."""


class LostError(Exception):
    """The connection is gone; a new one may work."""


class TakenOverError(LostError):
    """Another client came with the same client id: a new connection would only take its session from it."""


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
        RefusedError: it answers, and its certificate or our password does not do.
    """

    def __init__(
        self, address: str, *, hello: mqtt5.ConnectPacket, clock: Clock, accepted: Greeted | None = None
    ) -> None:
        """Connect and wait for it, or take what was ``accepted`` before."""
        self._clock = clock
        self._out = bytearray()
        accepted = accepted or greeted(address, hello=hello, clock=clock)
        self._socket: socket.socket | TlsSocket | LinkedSocket = accepted.socket
        self._in = accepted.rest
        self.session_present = accepted.answer.session_present
        self.broker_window = accepted.answer.receive_max
        self._keep_alive_ns = (accepted.answer.server_keep_alive or hello.keep_alive) * SECOND_NS
        self._heard_ns = self._spoke_ns = self._pinged_ns = clock.ticks_ns()

    def put(self, through: Through) -> None:
        """Put a slow link between this and its broker."""
        if not isinstance(self._socket, LinkedSocket):
            self._socket = through(self._socket)

    def next_ns(self) -> int | None:
        """Say at which tick a slow link has something to be done: then call ``receive``."""
        return self._socket.next_ns() if isinstance(self._socket, LinkedSocket) else None

    def fileno(self) -> int:
        """Give the socket's number, for selectors."""
        return self._socket.fileno()

    def left_over(self) -> bool:
        """Say whether something is left to be flushed."""
        return bool(self._out)

    def wants_write(self) -> bool:
        """Say whether the socket must tell when it takes more; what a slow link leaves, ``next_ns`` tells."""
        if isinstance(self._socket, LinkedSocket):
            return False
        return bool(self._out) or (isinstance(self._socket, TlsSocket) and self._socket.wants_write)

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
            TakenOverError: another client took this client id's session.
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

    def _parsed(self) -> list[mqtt5.Packet]:
        try:
            packets = whole(self._in)
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
        interest = select.POLLIN | (select.POLLOUT if self.wants_write() else 0)
        poll = select.poll()
        poll.register(self._socket, interest)
        poll.poll(wait_s * 1000)

    def close(self, *, end_session: bool = False) -> None:
        """Say goodbye, and wait for the broker to hang up; see ``say_goodbye``."""
        self.say_goodbye(end_session=end_session)
        part([self], clock=self._clock)

    def say_goodbye(self, *, end_session: bool = False) -> None:
        """Write the last words; ``end_session`` has the broker forget what this client is subscribed to."""
        if isinstance(self._socket, LinkedSocket):  # who leaves waits for no link
            self._socket, under_way = self._socket.unlinked()
            self._out[:0] = under_way
        with suppress(LostError):
            self.send(mqtt5.DisconnectPacket(session_expiry_interval=0 if end_session else None).write())

    def gone(self) -> bool:
        """Go on leaving, without waiting, after the goodbye; say whether the broker has hung up."""
        try:
            self.flush()
            if not self._out:
                # Closing a socket with unread bytes resets it, and the broker may then not see our last words.
                self._socket.shutdown(socket.SHUT_WR)
            return not self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except (OSError, LostError):
            return True

    def abandon(self) -> None:
        """Close without a word, as a crash would: the broker publishes the last will."""
        self._socket.close()


def part(connections: Sequence[Connection], *, clock: Clock) -> None:
    """Wait until the brokers of those who said goodbye hang up, for all at once and never long; then close them."""
    with selectors.DefaultSelector() as selector:
        for one in connections:
            selector.register(one, _interest(one), one)
        over = Deadline(clock, within_s=GOODBYE_MOST_S)
        while selector.get_map() and not over.passed():
            if not (ready := selector.select(GOODBYE_S)):
                break
            for key, _ in ready:
                one = key.data
                if one.gone():
                    selector.unregister(one)
                elif key.events != _interest(one):
                    selector.modify(one, _interest(one), one)
    for one in connections:
        one.abandon()


def _interest(connection: Connection) -> int:
    return selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.wants_write() else 0)


def _explain(goodbye: mqtt5.DisconnectPacket) -> None:
    if goodbye.reason_code is mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER:
        raise TakenOverError("another client with this client id took over the MQTT session")
    raise LostError(f"the broker says {goodbye.reason_code.name.lower().replace('_', ' ')}")
