"""The profile in force in the words of each Kafka client, and what it means when Kafka does not let us in.

All of them speak SCRAM-SHA-512 over TLS. Java's clients, which are Spark's, are told the
password file's name and read it themselves: the password is in none of Spark's settings,
and so in none of its plans, pages and logs.
"""

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from kafka.errors import AuthorizationError, SaslAuthenticationFailedError

from edgewise import addresses, security
from edgewise.errors import ConfigError, EdgewiseError, RefusedError, UnreachableError
from edgewise.security import Access

HINT: Final = "start it with: edgewise up"
PROTOCOL: Final = "SASL_SSL"
MECHANISM: Final = "SCRAM-SHA-512"
LOOK_S: Final = 3.0
"""How long it may take to see whether somebody speaks TLS."""
HANDSHAKE: Final = 22
"""How a TLS record begins that answers a greeting; 21 is an alert."""
JAAS: Final = (
    "org.apache.kafka.common.security.scram.ScramLoginModule required "
    'username="{user}" password="${{directory:{folder}:{name}}}";'
)


def confluent() -> dict[str, Any]:
    """Give librdkafka's settings."""
    if (access := security.in_force().kafka) is None:
        return {}
    return {
        "security.protocol": PROTOCOL,
        "ssl.ca.location": str(access.ca),
        "sasl.mechanism": MECHANISM,
        "sasl.username": access.user,
        "sasl.password": access.password(),
    }


def pure(access: Access | None = None) -> dict[str, Any]:
    """Give kafka-python's settings; of another profile's access if one is named."""
    if (access := access or security.in_force().kafka) is None:
        return {}
    return {
        "security_protocol": PROTOCOL,
        "ssl_context": access.context(),
        "sasl_mechanism": MECHANISM,
        "sasl_plain_username": access.user,
        "sasl_plain_password": access.password(),
    }


def spark() -> Mapping[str, str]:
    """Give the options of Spark's reader and writer; each executor must find both files at the same place.

    Raises:
        ConfigError: the password file has more in it than Java should read.
    """
    if (access := security.in_force().kafka) is None:
        return {}
    if access.password() != access.password_file.read_text():
        raise ConfigError(f"{access.password_file} ends with a line end, which Java takes for part of the password")
    folder, name = access.password_file.absolute().parent, access.password_file.name
    told = {
        "security.protocol": PROTOCOL,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(access.ca.absolute()),
        "sasl.mechanism": MECHANISM,
        "sasl.jaas.config": JAAS.format(user=access.user, folder=folder, name=name),
        "config.providers": "directory",
        "config.providers.directory.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
    }
    return {f"kafka.{name}": value for name, value in told.items()}


def explained(address: str, error: BaseException | None, *, hint: str = HINT) -> EdgewiseError:
    """Say why Kafka did not do what was asked: by the client's error where it says enough, else by a look at the port.

    Gives RefusedError where a certificate, a password or a right is missing, else UnreachableError.
    """
    access = security.in_force().kafka
    if isinstance(error, AuthorizationError):
        return forbidden(address, str(error))
    if isinstance(error, SaslAuthenticationFailedError):
        return wrong_password(address)
    return _looked(address, access) or UnreachableError("Kafka", at=address, hint=hint)


def wrong_password(address: str) -> RefusedError:
    """Say that Kafka does not know our user with our password."""
    access = security.in_force().kafka
    user, source = (access.user, str(access.password_file)) if access else ("", security.OPTION)
    return RefusedError(
        f"Kafka at {address} refused user {user!r}: it knows another password, or no such user; ours is in {source}"
    )


def forbidden(address: str, said: str) -> RefusedError:
    """Say that Kafka knows us, and that we may not do this."""
    access = security.in_force().kafka
    user = access.user if access else "ANONYMOUS"
    return RefusedError(
        f"Kafka at {address} does not let user {user!r} do this ({said}); its ACLs say who may: edgewise security admit"
    )


def _looked(address: str, access: Access | None) -> EdgewiseError | None:
    """See whether TLS is what stands between us; None if not, or if nobody is there at all."""
    where = addresses.parse(address.partition(",")[0], option="--kafka")
    try:
        plain = socket.create_connection((where.host, where.port), LOOK_S)
    except OSError:
        return None
    with plain:
        if access is None:
            hint = f"it speaks TLS; say which certificates with {security.OPTION}"
            return UnreachableError("Kafka", at=address, hint=hint) if _speaks_tls(plain) else None
        try:
            access.context().wrap_socket(plain, server_hostname=where.host).close()
        except OSError as error:
            return security.no_tls("Kafka", address, access, error)
    return None


def _speaks_tls(plain: socket.socket) -> bool:
    """Say whether a greeting of TLS is answered with one; nothing is believed, nothing sent."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with suppress(ssl.SSLWantReadError):  # the other side's turn
        context.wrap_bio(incoming, outgoing, server_hostname="kafka").do_handshake()
    try:
        plain.sendall(outgoing.read())
        return plain.recv(1) in {bytes([HANDSHAKE]), bytes([HANDSHAKE - 1])}
    except OSError:
        return False
