"""The folder of secrets: a folder for each part and each broker, with what that one needs and nothing else."""

import base64
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from brokers.secured.certificates import Authority
from brokers.secured.rights import ADMIN, RIGHTS, mosquitto_acl
from edgewise import declared
from edgewise.clock import Clock, SystemClock
from edgewise.errors import ConfigError
from edgewise.security import PROFILE

AUTHORITY: Final = "authority"
MOSQUITTO: Final = "mosquitto"
KAFKA: Final = "kafka"
CA: Final = "ca.pem"
CERTIFICATE: Final = "server.pem"
KEY: Final = "server.key"
KEYSTORE: Final = "keystore.pem"
"""Key and certificate in one, as Java reads them."""
MQTT_USERS: Final = "users"
ACL: Final = "acl"
ADMIN_PASSWORD: Final = "admin.password"  # noqa: S105 - a file's name
FORMAT: Final = "format.args"
"""Arguments of Kafka's formatting tool: its first user, whose password no process list may show."""
MQTT_PASSWORD: Final = "mqtt.password"  # noqa: S105
KAFKA_PASSWORD: Final = "kafka.password"  # noqa: S105
CAMERAS: Final = "cameras.passwords"
PRIVATE, HANDED_ON = 0o600, 0o644
FOLDER_PRIVATE, FOLDER_HANDED_ON = 0o700, 0o755
HASHED: Final = 101
"""Rounds of mosquitto's own choice; more would help guessable passwords, and these are none."""
SALT_BYTES: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a folder of secrets is made for."""

    hosts: Sequence[str]
    """Names and addresses at which clients reach the brokers."""
    cameras: Mapping[str, int]
    """Of each fleet, by its name, how many."""
    lasts_s: int
    """How long the certificates are good."""
    containers: bool = False
    """Whether other user ids must read a file that is mounted into their container."""


def make(out: Path, wanted: Wanted, *, over: bool, clock: Clock | None = None) -> None:
    """Make certificates, users and passwords, whole or not at all.

    Raises:
        ConfigError: something is there already and must not be lost, or the folder cannot be written.
    """
    if out.exists() and not over and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is there already; name another, or make all of it anew with --over")
    if out.exists() and over and not (out / AUTHORITY).is_dir():
        raise ConfigError(f"--out {out} is no folder of secrets, and is left alone; name another")
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        # Nobody else may look inside, from the first moment on: mkdtemp makes it so.
        scratch = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}-"))
    except OSError as error:
        raise ConfigError(f"--out {out}: {error.strerror}; name a folder that can be written") from error
    try:
        _Writer(scratch, handed_on=wanted.containers).fill(wanted, clock or SystemClock())
        if out.exists():
            shutil.rmtree(out)
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class _Writer:
    def __init__(self, folder: Path, *, handed_on: bool) -> None:
        self._folder, self._handed_on = folder, handed_on

    def fill(self, wanted: Wanted, clock: Clock) -> None:
        authority = Authority(lasts_s=wanted.lasts_s, clock=clock)
        self._write(f"{AUTHORITY}/{CA}", authority.own.certificate)
        self._write(f"{AUTHORITY}/{KEY}", authority.own.key)
        mqtt: dict[str, str] = {}
        passwords: dict[str, str] = {}
        for part in (*RIGHTS, ADMIN):
            profile: dict[str, dict[str, str]] = {}
            if part == ADMIN or RIGHTS[part].of_mqtt:
                mqtt[part] = secrets.token_urlsafe(24)
                self._write(f"{part}/{MQTT_PASSWORD}", mqtt[part])
                profile["mqtt"] = {"ca": CA, "user": part, "password_file": MQTT_PASSWORD}
            if part == "fleet":
                profile["mqtt"]["cameras_file"] = CAMERAS
            passwords[part] = secrets.token_urlsafe(24)
            self._write(f"{part}/{KAFKA_PASSWORD}", passwords[part])
            profile["kafka"] = {"ca": CA, "user": part, "password_file": KAFKA_PASSWORD}
            self._write(f"{part}/{PROFILE}", declared.text(profile).lstrip())
            self._write(f"{part}/{CA}", authority.own.certificate)
        cameras = {
            f"{fleet}-{index}": secrets.token_urlsafe(24)
            for fleet, count in wanted.cameras.items()
            for index in range(count)
        }
        self._write(f"fleet/{CAMERAS}", _lines(f"{name}:{password}" for name, password in cameras.items()))
        mosquitto = authority.sign(MOSQUITTO, hosts=wanted.hosts)
        self._write(f"{MOSQUITTO}/{CERTIFICATE}", mosquitto.certificate)
        self._write(f"{MOSQUITTO}/{KEY}", mosquitto.key)
        self._write(f"{MOSQUITTO}/{CA}", authority.own.certificate)
        users = mqtt | cameras
        self._write(f"{MOSQUITTO}/{MQTT_USERS}", _lines(_hashed(name, password) for name, password in users.items()))
        self._write(f"{MOSQUITTO}/{ACL}", mosquitto_acl())
        kafka = authority.sign(KAFKA, hosts=wanted.hosts)
        self._write(f"{KAFKA}/{KEYSTORE}", kafka.key + kafka.certificate)
        self._write(f"{KAFKA}/{CA}", authority.own.certificate)
        self._write(f"{KAFKA}/{ADMIN_PASSWORD}", passwords[ADMIN])
        first = f"SCRAM-SHA-512=[name={ADMIN},password={passwords[ADMIN]}]"
        self._write(f"{KAFKA}/{FORMAT}", _lines(("--add-scram", first)))

    def _write(self, name: str, content: str | bytes) -> None:
        path = self._folder / name
        handed_on = self._handed_on and path.parent.name != AUTHORITY
        path.parent.mkdir(exist_ok=True)
        # By itself it would have what the umask of whoever calls leaves of it.
        path.parent.chmod(FOLDER_HANDED_ON if handed_on else FOLDER_PRIVATE)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        with os.fdopen(file, "wb") as out:
            out.write(content if isinstance(content, bytes) else content.encode())
        path.chmod(HANDED_ON if handed_on else PRIVATE)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _hashed(user: str, password: str) -> str:
    """Write a line of mosquitto's password file: PBKDF2 with SHA-512, as mosquitto_passwd would."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, HASHED)
    return f"{user}:$7${HASHED}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
