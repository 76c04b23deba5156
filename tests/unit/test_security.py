"""Profiles and the folder of secrets: what is read, what is refused by name, what is kept from other eyes."""

import base64
import hashlib
import os
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from brokers.secured import folder
from brokers.secured.rights import RIGHTS
from edgewise import security
from edgewise.errors import ConfigError
from edgewise.security import Profile

WANTED: Final = folder.Wanted(hosts=("localhost", "127.0.0.1"), cameras={"yard": 2}, lasts_s=3600)
SECRET: Final = "do-not-tell"  # noqa: S105 - it is told to nobody


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "secrets"
    folder.make(out, WANTED, over=False)
    return out


def written(path: Path, text: str) -> Path:
    (path / "mqtt.password").write_text(f"{SECRET}\n")
    (path / "profile.toml").write_text(text)
    return path / "profile.toml"


def test_a_profile_names_its_files_from_its_own_folder(tmp_path: Path) -> None:
    path = written(tmp_path, '[mqtt]\nca = "ca.pem"\nuser = "bridge"\npassword_file = "mqtt.password"\n')
    found = security.read(path, part="bridge").mqtt
    assert found is not None
    assert (found.ca, found.password_file) == (tmp_path / "ca.pem", tmp_path / "mqtt.password")
    assert found.login(None) == ("bridge", SECRET), "without the line end"
    assert security.read(path, part="bridge").kafka is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f'[mqtt]\nca = "a"\nuser = "b"\npassword = "{SECRET}"\n', "mqtt.password_file is missing"),
        (
            f'[mqtt]\nca = "a"\nuser = "b"\npassword_file = "c"\npassword = "{SECRET}"\n',
            "mqtt.password is not known; did you mean password_file?",
        ),
        (f'[mqttt]\npassword = "{SECRET}"\n', "mqttt is not known; did you mean mqtt?"),
        ('[mqtt]\nca = "a"\nuser = ""\npassword_file = "c"\n', "mqtt.user = '': "),
    ],
)
def test_what_a_profile_may_not_say_is_named_and_no_secret_with_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        security.read(written(tmp_path, text), part="bridge")
    assert str(caught.value).startswith(f"{tmp_path / 'profile.toml'}: {said}")
    assert SECRET not in str(caught.value)


def test_a_place_without_a_profile_says_how_one_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no profile of 'bridge' can be read there .* edgewise security make --out"):
        security.read(tmp_path, part="bridge")


@pytest.mark.parametrize(("name", "content"), [("missing", None), ("empty", "\n")])
def test_a_password_that_is_not_there_is_said(tmp_path: Path, name: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    access = security.Access(ca=tmp_path, user="a", password_file=tmp_path / name)
    with pytest.raises(ConfigError, match=name):
        access.password()


def test_a_certificate_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    access = security.Access(ca=tmp_path / "ca.pem", user="a", password_file=tmp_path / "b")
    with pytest.raises(ConfigError, match=r"ca = .*ca\.pem' is no certificate that can be read"):
        access.context()


def test_a_profile_is_in_force_until_it_is_given_back(tmp_path: Path) -> None:
    mine = security.read(written(tmp_path, ""), part="bridge")
    assert mine == Profile()
    other = Profile(kafka=security.Access(ca=tmp_path, user="a", password_file=tmp_path))
    with security.meanwhile(other):
        assert security.in_force() is other
    assert security.in_force() == Profile()


def test_each_part_has_a_profile_that_can_be_used(secrets: Path) -> None:
    for part in (*RIGHTS, "admin"):
        profile = security.read(secrets, part=part)
        accesses = [access for access in (profile.mqtt, profile.kafka) if access is not None]
        assert {access.user for access in accesses} == {part}
        for access in accesses:
            assert access.context().verify_mode is ssl.CERT_REQUIRED
            assert access.context().check_hostname
            assert len(access.password()) >= 32
    assert security.read(secrets / "bridge", part="bridge") == security.read(secrets, part="bridge")


def test_each_camera_of_a_fleet_has_a_password_of_its_own(secrets: Path) -> None:
    fleet = security.read(secrets, part="fleet").mqtt
    assert fleet is not None
    (first, _), (user, second) = fleet.login("yard-0"), fleet.login("yard-1")
    assert (first, user) == ("yard-0", "yard-1")
    assert fleet.login("yard-0")[1] != second
    with pytest.raises(ConfigError, match=r"camera 'yard-2' has no password in .* --cameras yard=COUNT"):
        fleet.login("yard-2")


def test_mosquitto_can_check_each_password_and_is_told_none(secrets: Path) -> None:
    lines = dict(line.split(":") for line in (secrets / "mosquitto" / "users").read_text().splitlines())
    assert set(lines) == {"fleet", "bridge", "gateway", "viewer", "admin", "yard-0", "yard-1"}
    bridge = (secrets / "bridge" / "mqtt.password").read_text()
    _, kind, rounds, salt, digest = lines["bridge"].split("$")
    made = hashlib.pbkdf2_hmac("sha512", bridge.encode(), base64.b64decode(salt), int(rounds))
    assert (kind, base64.b64decode(digest)) == ("7", made)


def test_nobody_else_can_read_any_of_it(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for path in secrets.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)


@pytest.fixture(params=[0o022, 0o077, 0o000], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_for_containers_each_folder_can_be_read_and_the_one_above_cannot(tmp_path: Path) -> None:
    out = tmp_path / "secrets"
    folder.make(out, folder.Wanted(hosts=("kafka",), cameras={}, lasts_s=3600, containers=True), over=False)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    modes = {path.relative_to(out).as_posix(): stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*")}
    private = {name: modes.pop(name) for name in ("authority", "authority/ca.pem", "authority/server.key")}
    assert list(private.values()) == [0o700, 0o600, 0o600]
    assert modes == {name: 0o755 if (out / name).is_dir() else 0o644 for name in modes}


def test_what_is_there_is_made_anew_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "secrets"
    folder.make(out, WANTED, over=False)
    before = (out / "authority" / "ca.pem").read_bytes()
    with pytest.raises(ConfigError, match="is there already; name another, or make all of it anew with --over"):
        folder.make(out, WANTED, over=False)
    assert (out / "authority" / "ca.pem").read_bytes() == before
    folder.make(out, WANTED, over=True)
    assert (out / "authority" / "ca.pem").read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]


def test_a_folder_of_something_else_is_left_alone_even_when_asked(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="is no folder of secrets, and is left alone"):
        folder.make(tmp_path, WANTED, over=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
