"""What this process's profile means in MQTT's words: who comes, over TLS or plainly, and what no broker lets it do."""

import socket
import ssl
from contextlib import suppress
from typing import Final, TypedDict

import mqtt5

from edgewise import security
from edgewise.errors import RefusedError, UnreachableError

READ_RECORDS: Final = 16
"""Of TLS, at a time: as many bytes as a read without it."""
NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
"""What a socket that does not wait says in place of waiting."""
NOT_LET_IN: Final = (mqtt5.ConnAckReasonCode.NOT_AUTHORIZED, mqtt5.ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD)


class Login(TypedDict, total=False):
    """Those arguments of a CONNECT packet that say who comes."""

    username: str
    password: bytes


def login(*, camera: str | None = None) -> Login:
    """Give what this process's profile has a CONNECT say, for a camera or for the part itself.

    Raises:
        ConfigError: it names a password that cannot be read.
    """
    if (access := security.in_force().mqtt) is None:
        return {}
    user, password = access.login(camera)
    return {"username": user, "password": password.encode()}


def refused(address: str, *, doing: str, camera: str | None = None) -> RefusedError:
    """Say what the broker does not let this user do: a camera, where they have a user's name each, or the part."""
    access = security.in_force().mqtt
    who = f"user {access.known_as(camera)!r}" if access else "a client without a user's name"
    return RefusedError(f"the MQTT broker at {address} does not let {who} {doing}; its ACL says who may")


def turned_away(address: str, hello: mqtt5.ConnectPacket, said: mqtt5.Packet) -> RefusedError | UnreachableError:
    """Say why the broker answered to a CONNECT with something else than yes."""
    if not isinstance(said, mqtt5.ConnAckPacket):
        return UnreachableError("MQTT 5 broker", at=address, hint=f"it answered with {type(said).__name__}")
    if said.reason_code in NOT_LET_IN:
        if (access := security.in_force().mqtt) is None:
            return RefusedError(f"the MQTT broker at {address} wants a user's name; give it with {security.OPTION}")
        source = access.password_file if hello.username == access.user else access.cameras_file
        return RefusedError(
            f"the MQTT broker at {address} refused user {hello.username!r}: it knows another password, or no such "
            f"user; ours is in {source}"
        )
    return UnreachableError("MQTT 5 broker", at=address, hint=f"it refused the connection: {said.reason_code.name}")


class TlsSocket:
    """A TLS connection that behaves like a socket: what a selector does not see is never left in it."""

    def __init__(self, plain: socket.socket, *, host: str, access: security.Access) -> None:
        """Begin on a socket that is connected and does not wait; ``shaken`` goes on."""
        context = access.context()
        self._socket = context.wrap_socket(plain, server_hostname=host, do_handshake_on_connect=False)
        self._wants_write = False

    def shaken(self) -> bool:
        """Go on with the handshake, without waiting; say whether it is done. An OSError says that it failed."""
        try:
            self._socket.do_handshake()
        except NOT_NOW as not_now:
            self._wants_write = isinstance(not_now, ssl.SSLWantWriteError)
            return False
        self._wants_write = False
        return True

    @property
    def wants_write(self) -> bool:
        """Say whether TLS has something of its own to say before it can go on."""
        return self._wants_write

    def fileno(self) -> int:
        """Give the socket's number."""
        return self._socket.fileno()

    def recv(self, most: int) -> bytes:
        """Give what is there, of several records; raise BlockingIOError if nothing is; empty is the end."""
        self._wants_write = False
        try:
            chunks = [self._socket.recv(most)]
            # A connection that breaks behind them says so again next time; what came before may say why.
            with suppress(OSError):
                while chunks[-1] and (self._socket.pending() or len(chunks) < READ_RECORDS):
                    chunks.append(self._socket.recv(most))
        except NOT_NOW as not_now:
            self._wants_write = isinstance(not_now, ssl.SSLWantWriteError)
            raise BlockingIOError from not_now
        return b"".join(chunks)

    def send(self, content: bytes | bytearray) -> int:
        """Send as many records as there is room for; raise BlockingIOError if there is none."""
        sent = 0
        try:
            with memoryview(content) as left:
                while sent < len(left):
                    sent += self._socket.send(left[sent:])
        except NOT_NOW as not_now:
            if not sent:
                raise BlockingIOError from not_now
        return sent

    def shutdown(self, how: int) -> None:
        """See socket."""
        self._socket.shutdown(how)

    def close(self) -> None:
        """See socket."""
        self._socket.close()
