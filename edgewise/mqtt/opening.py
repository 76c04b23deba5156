"""A connection to an MQTT 5 broker that is being made: TCP, CONNECT, CONNACK, and nothing here waits."""

import errno
import select
import socket
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn

import mqtt5

from edgewise import addresses, security
from edgewise.clock import Clock, Deadline
from edgewise.errors import UnreachableError
from edgewise.mqtt.access import TlsSocket, turned_away

CONNECT_S: Final = 5.0
READ_BYTES: Final = 1 << 18
HINT: Final = "start it with: edgewise up"
NO_PORT: Final = "this machine has no local port left for a connection there; see sysctl net.ipv4.ip_local_port_range"
THERE: Final = {0, errno.EISCONN}
ON_ITS_WAY: Final = {errno.EINPROGRESS, errno.EALREADY}
Place = tuple[socket.AddressFamily, Any]
"""One address of a host, as sockets take it."""


class Greeted(NamedTuple):
    """What a broker has accepted."""

    socket: socket.socket | TlsSocket
    """Which does not wait."""
    answer: mqtt5.ConnAckPacket
    rest: bytearray
    """What has arrived behind the answer."""


@lru_cache(maxsize=100)
def _found(host: str, port: int) -> Sequence[Place]:
    """Look a name up, once: to ask for it may take seconds, which thousands of cameras do not have."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple((family, where) for family, _, _, _, where in found)


class Opening:
    """One try to connect to one of a host's addresses; after CONNECT_S it is given up.

    The owner calls ``turn`` when ``fileno()`` can be written, while ``wants_write()``, or read,
    and now and then.

    Raises:
        UnreachableError: nobody answers there.
        ConfigError: this process's profile names a certificate that cannot be read.
    """

    def __init__(
        self, address: str, *, hello: mqtt5.ConnectPacket, clock: Clock, places: Sequence[Place] | None = None
    ) -> None:
        """Begin; ``places`` are those of the host's addresses that are left to be tried."""
        self._address, self._hello, self._clock = address, hello, clock
        self._in = bytearray()
        self._given_up = Deadline(clock, within_s=CONNECT_S)
        self._said_hello = False
        self._tls: TlsSocket | None = None
        self._access = security.in_force().mqtt
        where = addresses.parse(address, option="--mqtt")
        self._host = where.host
        try:
            self._left = deque(_found(where.host, where.port) if places is None else places)
        except OSError as error:
            raise self._nobody() from error
        while self._left:
            family, self._where = self._left.popleft()
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)  # noqa: FBT003 - its only argument
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (code := self._socket.connect_ex(self._where)) in THERE | ON_ITS_WAY:
                return
            self._socket.close()
            if code == errno.EADDRNOTAVAIL:
                raise self._nobody(hint=NO_PORT)
        raise self._nobody()

    def _nobody(self, *, hint: str = HINT) -> UnreachableError:
        return UnreachableError("MQTT broker", at=self._address, hint=hint)

    def another(self) -> "Opening | None":
        """Give a try at the host's next address; None after the last, or if it is the broker that said no.

        Raises:
            UnreachableError: nobody answers there either.
        """
        if self._said_hello or not self._left:
            return None
        return Opening(self._address, hello=self._hello, clock=self._clock, places=self._left)

    def fileno(self) -> int:
        """Give the socket's number, for selectors."""
        return (self._tls or self._socket).fileno()

    def wants_write(self) -> bool:
        """Say whether it waits until the socket takes something, and not for what the broker says."""
        return not self._said_hello if self._tls is None else self._tls.wants_write

    def turn(self) -> Greeted | None:
        """Go on as far as can be without waiting; give the connection once it is accepted.

        Raises:
            UnreachableError: nobody answers there, or it does not speak MQTT 5, or it says no.
        """
        if self._given_up.passed():
            self.give_up()
        if not self._said_hello and not self._connected():
            return None
        try:
            answer = self._answer()
        except (OSError, ValueError) as error:
            self.abandon()
            raise self._broken_off(str(error)) from error
        if answer is None:
            return None
        if not isinstance(answer, mqtt5.ConnAckPacket) or answer.reason_code != mqtt5.ConnAckReasonCode.SUCCESS:
            self.abandon()
            raise turned_away(self._address, self._hello, answer)
        return Greeted(self._tls or self._socket, answer, self._in)

    def _connected(self) -> bool:
        """Say whether TCP, and TLS if the profile wants that, has connected; if so, say hello."""
        if self._tls is None and not self._reached():
            return False
        if self._access is not None and not self._trusted(self._access):
            return False
        try:
            (self._tls or self._socket).send(self._hello.write())  # a new connection takes as little as this
        except OSError as error:
            self.abandon()
            raise self._broken_off(str(error)) from error
        self._said_hello = True
        return True

    def _trusted(self, access: security.Access) -> bool:
        try:
            if self._tls is None:
                self._tls = TlsSocket(self._socket, host=self._host, access=access)
            return self._tls.shaken()
        except OSError as error:  # an SSLError is one too
            self.abandon()
            raise security.no_tls("MQTT broker", self._address, access, error) from error

    def _reached(self) -> bool:
        code = self._socket.connect_ex(self._where)
        if code in ON_ITS_WAY:
            return False
        if code not in THERE:
            self.abandon()
            raise self._nobody()
        return True

    def _answer(self) -> mqtt5.Packet | None:
        try:
            chunk = (self._tls or self._socket).recv(READ_BYTES)
        except BlockingIOError:
            return None
        if not chunk:
            raise ConnectionError("it hung up")
        self._in += chunk
        return next(iter(whole(self._in, most=1)), None)

    def give_up(self) -> NoReturn:
        """Say that it has taken too long.

        Raises:
            UnreachableError: always.
        """
        self.abandon()
        raise self._broken_off("timed out") if self._said_hello else self._nobody()

    def abandon(self) -> None:
        """Leave it at that."""
        (self._tls or self._socket).close()

    def _broken_off(self, why: str) -> UnreachableError:
        perhaps = "" if self._access else f" (if it wants TLS: {security.OPTION})"
        return UnreachableError("MQTT 5 broker", at=self._address, hint=f"it broke off the greeting: {why}{perhaps}")


def greeted(address: str, *, hello: mqtt5.ConnectPacket, clock: Clock) -> Greeted:
    """Connect, and wait until that is done.

    Raises:
        UnreachableError: see ``Opening``.
    """
    opening = Opening(address, hello=hello, clock=clock)
    while True:
        try:
            if (found := opening.turn()) is not None:
                return found
            poll = select.poll()
            poll.register(opening.fileno(), select.POLLOUT if opening.wants_write() else select.POLLIN)
            if not poll.poll(CONNECT_S * 1000):
                opening.give_up()
        except UnreachableError:
            if (another := opening.another()) is None:
                raise
            opening = another


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
