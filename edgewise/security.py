"""How this process proves to the brokers who it is: one profile, named by one option and one variable.

A profile is a TOML file. It names files, and says no secret itself: a path may stand in a
command line, a variable or a log; a password never does. What it means in the words of
each client stands with that client (``mqtt/connection``, ``kafka/access``).

A process has one profile, as it has one user id: whatever it opens, it opens as that.
"""

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from edgewise import declared
from edgewise.errors import ConfigError, RefusedError, UnreachableError

OPTION: Final = "--security"
VARIABLE: Final = "EDGEWISE_SECURITY"
PROFILE: Final = "profile.toml"
"""Of a folder that is one part's, or holds one folder for each part."""
OTHERS: Final = "viewer"
"""Whose profile those commands take that are no part: they look, and change nothing."""


class Access(BaseModel):
    """How one broker is reached: TLS, and a user's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca: Path
    """Certificate of whoever signed the broker's, PEM."""
    user: str = Field(min_length=1)
    """Name that the broker knows us by."""
    password_file: Path
    """Holds the user's password and nothing else."""

    @field_validator("*")
    @classmethod
    def _beside_the_profile(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - any field's
        """Read paths as the profile means them: from its own folder."""
        return info.context / value if isinstance(value, Path) and info.context else value

    def password(self) -> str:
        """Read the password.

        Raises:
            ConfigError: there is none.
        """
        if not (found := content(self.password_file)):
            raise ConfigError(f"{self.password_file} is empty: it should hold the password of {self.user!r}")
        return found

    def context(self) -> ssl.SSLContext:
        """Give what TLS connections of this process share: the broker's name is checked, and who signed it.

        Raises:
            ConfigError: the certificate cannot be read.
        """
        return _context(self.ca)


class MqttAccess(Access):
    """How the MQTT broker is reached."""

    cameras_file: Path | None = None
    """A fleet's: lines NAME:PASSWORD, a user for each camera, who may write that camera's topics alone."""

    def known_as(self, camera: str | None) -> str:
        """Give the user's name: a camera's own where there is a list of them."""
        return self.user if camera is None or self.cameras_file is None else camera

    def login(self, camera: str | None) -> tuple[str, str]:
        """Give user and password: a camera's own where there is a list of them.

        Raises:
            ConfigError: the camera is not in it.
        """
        if camera is None or self.cameras_file is None:
            return self.user, self.password()
        try:
            return camera, _cameras(self.cameras_file)[camera]
        except KeyError:
            group = camera.rpartition("-")[0]
            raise ConfigError(
                f"camera {camera!r} has no password in {self.cameras_file}; "
                f"make one for each with: edgewise security make --cameras {group}=COUNT"
            ) from None


class Profile(BaseModel):
    """Who this process is, to both brokers; without a table that broker is reached plainly."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mqtt: MqttAccess | None = None
    """The MQTT broker's table."""
    kafka: Access | None = None
    """Kafka's."""


_in_force = Profile()


def in_force() -> Profile:
    """Give this process's profile; an empty one if nobody named any."""
    return _in_force


def named() -> Path | None:
    """Give what the user named, for brokers that this process starts itself."""
    return Path(os.environ[VARIABLE]) if in_force() != Profile() else None


def put_in_force(profile: Profile) -> None:
    """Open all connections from now on as this profile says."""
    global _in_force  # noqa: PLW0603 - one for the process, see above
    _in_force = profile


@contextmanager
def meanwhile(profile: Profile) -> Iterator[None]:
    """Have another profile in force inside: an administrator's, or none for a broker that knows no users."""
    before = in_force()
    put_in_force(profile)
    try:
        yield
    finally:
        put_in_force(before)


def use(place: Path | None, *, part: str) -> None:
    """Put in force what a user named for a part, and let the processes that it starts find it too.

    Raises:
        ConfigError: there is no such profile, or it is wrong.
    """
    if place is None:
        put_in_force(Profile())
        return
    put_in_force(read(place, part=part))
    os.environ[VARIABLE] = str(place.absolute())


def read(place: Path, *, part: str) -> Profile:
    """Read a profile: a file, the folder that it stands in, or a folder that has one for each part.

    Raises:
        ConfigError: there is none, or it is wrong.
    """
    path = place if place.is_file() else place / PROFILE
    if not path.exists():
        path = place / part / PROFILE
    try:
        return Profile.model_validate(declared.parsed(path, called=str(path)), context=path.absolute().parent)
    except OSError as error:
        raise ConfigError(
            f"{OPTION} {place}: no profile of {part!r} can be read there ({error.strerror}); "
            f"make a folder of them with: edgewise security make --out {place}"
        ) from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {declared.explained(error, Profile)}") from error


def no_tls(who: str, address: str, access: Access, error: OSError) -> RefusedError | UnreachableError:
    """Say why no TLS connection came about: by what was wrong with the broker's certificate, if that was it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return RefusedError(
            f"{who} at {address} has a certificate that is not to be trusted ({error.verify_message}); "
            f"{access.ca} is who should have signed it"
        )
    said = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return UnreachableError(who, at=address, hint=f"it speaks no TLS there ({said})")


@cache
def _context(ca: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # an SSLError is one too
        raise ConfigError(f"ca = {str(ca)!r} is no certificate that can be read: {error.strerror or error}") from error


@cache
def _cameras(path: Path) -> dict[str, str]:
    lines = (line.partition(":") for line in content(path).splitlines() if line)
    return {name: password for name, _, password in lines}


def content(path: Path) -> str:
    """Read a secret from its file, without the end of its line.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
