"""mosquitto, configured so that it keeps what it has confirmed.

With its own defaults it drops everything beyond 1,000 messages for a session that is
away, although the senders had their confirmation.
"""

import os
import pwd
import shutil
from pathlib import Path
from typing import Final

from brokers.mqtt import answer
from brokers.secured import folder
from edgewise.addresses import LOOPBACK
from edgewise.errors import MissingError

SETTINGS: Final = """\
listener {port} {host}
allow_anonymous true

# 0 means no limit: nothing that was confirmed is dropped, and the client's receive maximum alone decides.
max_queued_messages 0
max_inflight_messages 0
max_packet_size {packet_max_bytes}
set_tcp_nodelay true

# Everything is written down at a clean stop. In between, once a minute: a kill loses what came after the last time.
persistence true
persistence_location {data}/
autosave_interval 60

# As root mosquitto would become another user, who may not write here, and the kernel would forget that it is our child.
user {user}
log_dest stderr
log_type error
log_type warning
log_type notice
connection_messages false
"""
ANYBODY: Final = "allow_anonymous true"
ALL_QUEUED: Final = "max_queued_messages 0"
USERS: Final = """\
allow_anonymous false
password_file {secrets}/{users}
acl_file {secrets}/{acl}
certfile {secrets}/{certificate}
keyfile {secrets}/{key}"""
# 2.0.11 hangs up on whoever publishes what he may not where the limit is none; where it is never reached, it says so.
ALL_QUEUED_FOR_USERS: Final = "max_queued_messages 2147483647"
# Debian puts it where an ordinary user's PATH does not look.
ALSO_IN: Final = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"


def program() -> str | None:
    """Find mosquitto; ``None`` if it is not installed."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path=ALSO_IN)


class Mosquitto:
    """See Recipe."""

    name: Final = "mosquitto"
    start_within_s: Final = 10.0

    def __init__(self, secured: Path | None = None) -> None:
        """Keep where the secrets are, if only users of theirs are to be let in."""
        self._secrets = secured.absolute() / folder.MOSQUITTO if secured else None

    def command(self, data: Path, *, port: int) -> list[str]:
        """See Recipe."""
        found = program()
        if found is None:
            raise MissingError("mosquitto is not installed; install it with: apt-get install mosquitto")
        settings = data / "mosquitto.conf"
        user = pwd.getpwuid(os.getuid()).pw_name
        settings.write_text(
            self._with_users(
                SETTINGS.format(
                    host=LOOPBACK, port=port, data=data, user=user, packet_max_bytes=answer.PACKET_MAX_BYTES
                )
            )
        )
        return [found, "-c", str(settings)]

    def answers(self, port: int) -> bool:
        """See Recipe."""
        return answer.answers(port, ca=self._secrets / folder.CA if self._secrets else None)

    def _with_users(self, text: str) -> str:
        if self._secrets is None:
            return text
        names = {"users": folder.MQTT_USERS, "acl": folder.ACL, "certificate": folder.CERTIFICATE, "key": folder.KEY}
        users = USERS.format(secrets=self._secrets, **names)
        return text.replace(ANYBODY, users).replace(ALL_QUEUED, ALL_QUEUED_FOR_USERS)
