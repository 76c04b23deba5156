"""Ask a Kafka whether it is there."""

import contextlib
import socket
from typing import Final

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from edgewise.addresses import LOOPBACK
from edgewise.kafka import access as dialects
from edgewise.security import Access

REQUEST_WAIT_MS: Final = 3_000


def answers(port: int, *, access: Access | None = None) -> bool:
    """Say whether an admin request on this loopback port names a broker: topics can be made and frames be stored."""
    try:
        # First a bare connection, because kafka-python logs every one that is refused.
        socket.create_connection((LOOPBACK, port), timeout=1).close()
        told = dialects.pure(access)
        admin = KafkaAdminClient(bootstrap_servers=f"{LOOPBACK}:{port}", request_timeout_ms=REQUEST_WAIT_MS, **told)
    except (OSError, KafkaError):
        return False
    with contextlib.closing(admin):
        try:
            return bool(admin.describe_cluster()["brokers"])
        except KafkaError:
            return False
