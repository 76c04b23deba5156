"""What is said on stderr: text or JSON, without secrets, and not for ever the same."""

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgewise import log
from edgewise.clock import SECOND_NS, ManualClock
from edgewise.errors import FrameError
from edgewise.log import HIDDEN, SPEAKER, Form, Repeats, redacted
from edgewise.messages import Rule, encode_frame
from edgewise.parts import say, warn
from edgewise.rejects import reject
from tests.fakes import FRAME, MemoryProducer, arrival


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[ManualClock]:
    """Begin with nothing said, on a clock of the test's own; leave the process as it was."""
    clock, root = ManualClock(), logging.getLogger()
    monkeypatch.setattr(SPEAKER, "_repeats", Repeats(clock=clock))
    for name in ("form", "part", "run"):
        monkeypatch.setattr(SPEAKER, name, getattr(SPEAKER, name))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    yield clock
    logging.captureWarnings(capture=False)
    root.removeHandler(SPEAKER)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_people_read_the_text_alone(capsys: pytest.CaptureFixture[str]) -> None:
    say("bridge: carrying", camera="gate-1")
    warn("bridge: connection lost")
    assert capsys.readouterr().err == "bridge: carrying\nbridge: connection lost\n"


def test_programs_read_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.speak(Form.JSON, part="bridge", run="first")
    say("bridge: two\nlines", frames=12)
    warn("MQTT connection lost")
    first, second = told(capsys)
    moment = first.pop("time")
    assert moment.endswith("+00:00")
    assert first == {"level": "info", "part": "bridge", "run": "first", "message": "two\nlines", "frames": 12}
    assert (second["level"], second["message"]) == ("warning", "MQTT connection lost")


def test_a_rejected_frame_names_its_camera_and_its_rule(capsys: pytest.CaptureFixture[str]) -> None:
    log.speak(Form.JSON, part="gateway")
    reject(MemoryProducer(), arrival(b"?", camera="gate-1"), error=FrameError(Rule.MAGIC, "b'?'"), by="gateway")
    (found,) = told(capsys)
    assert (found["level"], found["camera"], found["run"]) == ("warning", "gate-1", None)
    assert found["message"] == "rejected a frame of 'gate-1': magic: b'?'"


@pytest.mark.parametrize(("own", "said"), [("", FRAME.run), ("another", FRAME.run)])
def test_what_is_said_of_a_frame_names_the_frames_run(own: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.speak(Form.JSON, part="gateway", run=own)
    error = FrameError(Rule.DIMENSIONS, "9 x 9 pixels, the model takes 32 x 32")
    reject(MemoryProducer(), arrival(encode_frame(FRAME), camera=FRAME.camera), error=error, by="gateway")
    say("gateway: 12 frames")
    about_a_frame, of_the_part = told(capsys)
    assert (about_a_frame["run"], about_a_frame["camera"]) == (said, FRAME.camera)
    assert of_the_part["run"] == (own or None)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("mqtt://user:s3cr:et@host:1883/x", f"mqtt://user:{HIDDEN}@host:1883/x"),
        ("to mqtt://u:pa/ss@h:1 and on", f"to mqtt://u:{HIDDEN}@h:1 and on"),
        ("mqtt://u:p@ss@host/x", f"mqtt://u:{HIDDEN}@host/x"),
        ("Authorization: Bearer abc.def", f"Authorization: {HIDDEN}"),
        ("{'authorization': 'Basic dXNlcjpw'}", f"{{'authorization': {HIDDEN}}}"),
        ("it answered 401 to bearer abc.def", f"it answered 401 to bearer {HIDDEN}"),
        (r"{\"password\": \"hunter2\"}", rf"{{\"password\": {HIDDEN}}}"),
        ("private_key=abc; passphrase: abc", f"private_key={HIDDEN}; passphrase: {HIDDEN}"),
        ("connect with password=hunter2, then", f"connect with password={HIDDEN}, then"),
        ('{"sasl.password": "hunter2"}', f'{{"sasl.password": {HIDDEN}}}'),
        ("EDGEWISE_TOKEN: abc def", f"EDGEWISE_TOKEN: {HIDDEN} def"),
        ("--out secrets: no space", "--out secrets: no space"),
        ("x/secrets: a certificate authority", "x/secrets: a certificate authority"),
        ("secrets=abc; client-secret: abc", f"secrets={HIDDEN}; client-secret: {HIDDEN}"),
        ("host:1883 answers; http://host:9090/metrics", "host:1883 answers; http://host:9090/metrics"),
    ],
)
def test_no_password_is_said(text: str, kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert redacted(text) == kept
    say(text)
    assert capsys.readouterr().err == kept + "\n"


def test_no_password_is_among_the_fields_or_in_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    log.speak(Form.JSON, part="bridge")
    say("settings", password="hunter2", at="mqtt://me:hunter2@host", mqtt_token="hunter2")  # noqa: S106 - the point
    inside = {"settings": {"password": "hunter2", "brokers": [{"at": "kafka://me:hunter2@host"}, ("token=hunter2",)]}}
    say("nested", **inside, error=ValueError("password=hunter2"), path=Path("x"), ratio=float("nan"), none=None)
    endless: dict[str, object] = {"password": "hunter2"}
    endless["itself"] = [endless]
    say("endless", endless=endless)
    with pytest.raises(ValueError, match="hunter2") as caught:
        int("password=hunter2")
    sys.excepthook(caught.type, caught.value, caught.tb)
    said, nested, circle, bug = told(capsys)
    assert "hunter2" not in f"{said}{nested}{circle}"
    assert (nested["path"], nested["ratio"], nested["none"]) == ("x", "nan", None)
    assert nested["settings"]["brokers"][0] == {"at": f"kafka://me:{HIDDEN}@host"}
    assert bug["level"] == "critical"
    assert bug["message"].startswith("ValueError: invalid literal")
    assert bug["traceback"].startswith("Traceback")
    assert "hunter2" not in bug["message"] + bug["traceback"].splitlines()[-1]


def test_a_warning_that_comes_again_and_again_is_counted(
    as_before: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    log.speak(Form.JSON, part="gateway")
    for number in range(125):
        warn(f"gateway: rejected frame {number:,}")
    assert len(told(capsys)) == log.BURST
    as_before.advance(by_ns=10 * SECOND_NS)
    say("gateway: 10 frames")
    counted, after = told(capsys)
    assert counted["message"] == "rejected frame 0 (said 120 times more in 10 s)"
    assert (counted["level"], counted["repeated"]) == ("warning", 120)
    assert after["message"] == "10 frames"
    warn("gateway: rejected frame 9")
    assert [one["message"] for one in told(capsys)] == ["rejected frame 9"]


def test_what_is_owed_at_the_end_is_said_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(7):
        warn("lost")
    SPEAKER.settle(at_end=True)
    assert capsys.readouterr().err == "lost\n" * 5 + "lost (said 2 times more in 10 s)\n"


def test_different_warnings_do_not_silence_one_another_and_are_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    for place in range(log.KINDS_MOST + 50):
        warn("lost " + "x" * place)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == log.KINDS_MOST + log.BURST
    SPEAKER.settle(at_end=True)
    assert capsys.readouterr().err == "warnings of other kinds (said 45 times more in 10 s)\n"


def test_what_is_well_is_never_held_back(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(50):
        say(f"{number} frames")
    assert len(capsys.readouterr().err.splitlines()) == 50


def test_what_libraries_warn_of_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.speak(Form.JSON, part="bridge")
    logging.getLogger("py4j.clientserver").error("refused")
    (found,) = told(capsys)
    assert (found["level"], found["logger"], found["message"]) == ("error", "py4j.clientserver", "refused")
