"""What a part says on stderr: text for people, or one JSON object a line for programs (``--log json``).

Levels mean: *info*, all is well; *warning*, something was lost, late or is done again, and
the part goes on; *error*, the part ends and says why; *critical*, a bug, with its traceback.
A warning that comes again and again, if in other numbers, is said a few times and then counted.
"""

import atexit
import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final

from edgewise.clock import SECOND_NS, Clock, SystemClock

WARNING: Final = logging.WARNING
BURST: Final = 5
"""As often is the same said in ..."""
WINDOW_S: Final = 10.0
"""... so many seconds, before the rest of them is only counted."""
KINDS_MOST: Final = 1000
"""Of things said that are remembered, so that memory stays bounded."""
HIDDEN: Final = "***"
SENSITIVE: Final = (
    r"[\w.-]*(?:password|passwd|passphrase|secret|token|credential|authorization|(?:api|private)[_-]?key)[\w.-]*"
)
IN_URL: Final = re.compile(r"(?P<before>\w+://[^\s:/@]*:)\S+(?=@)")  # up to the last @: a password may hold / and @
IN_HEADER: Final = re.compile(r"(?P<before>\bbearer\s+)[^\s\"',;}]+", re.IGNORECASE)
IN_TEXT: Final = re.compile(  # but not what is said of the folder that is usually called secrets
    rf"(?P<before>\b(?!secrets:\s){SENSITIVE}\\*[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic|digest)\s+)?[^\s,;}]+)",
    re.IGNORECASE,
)
HIDDEN_FIELD: Final = re.compile(SENSITIVE, re.IGNORECASE)
NESTED_MOST: Final = 8
"""As deep are fields looked into; what is further inside is said as text."""
NUMBERS: Final = re.compile(r"\d[\d,.]*")
LOGGER: Final = logging.getLogger("edgewise")


class Form(StrEnum):
    """How talk is written."""

    TEXT = "text"
    JSON = "json"


def redacted(text: str) -> str:
    """Give a text without the passwords in it."""
    for place in (IN_URL, IN_TEXT, IN_HEADER):
        text = place.sub(rf"\g<before>{HIDDEN}", text)
    return text


def _harmless(value: object, *, nested: int = 0) -> Any:  # noqa: ANN401 - what JSON takes
    """Give a field's value as JSON takes it, without the passwords in it, however deep inside they are."""
    match value:
        case None | bool() | int():
            return value
        case Mapping() if nested < NESTED_MOST:
            return {
                str(name): HIDDEN if HIDDEN_FIELD.fullmatch(str(name)) else _harmless(one, nested=nested + 1)
                for name, one in value.items()
            }
        case list() | tuple() | set() | frozenset() if nested < NESTED_MOST:
            return [_harmless(one, nested=nested + 1) for one in value]
        case float() if math.isfinite(value):
            return value
        case _:  # as text first, and only then looked through: an error may hold anything
            return redacted(str(value))


@dataclass(slots=True)
class _Window:
    """What was said of one kind since a moment."""

    began_ns: int
    level: int
    text: str
    """The first time."""
    said: int = 0


class Repeats:
    """Lets the same be said a few times in a while, and then tells how much more often it was."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[str, _Window] = {}

    def allows(self, kind: str, *, level: int, text: str) -> bool:
        """Count one more of a kind; say whether it is to be said."""
        if kind not in self._windows and len(self._windows) >= KINDS_MOST:
            kind, text = "", "warnings of other kinds"
        window = self._windows.setdefault(kind, _Window(self._clock.ticks_ns(), level, text))
        window.said += 1
        return window.said <= BURST

    def over(self, *, at_end: bool = False) -> list[tuple[int, str, int]]:
        """Give level, text and count of what was kept back in windows that are over; they begin anew."""
        ends_ns = self._clock.ticks_ns() - round(WINDOW_S * SECOND_NS)
        ended = [kind for kind, window in self._windows.items() if at_end or window.began_ns <= ends_ns]
        windows = [self._windows.pop(kind) for kind in ended]
        return [(one.level, one.text, one.said - BURST) for one in windows if one.said > BURST]


class Speaker(logging.Handler):
    """Writes records to whatever stderr is at that moment, in one form."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__()
        self.form, self.part, self.run = Form.TEXT, "", ""
        self._repeats = Repeats(clock=clock or SystemClock())

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, after what is owed of earlier ones."""
        self.settle()
        text, level = record.getMessage(), record.levelno
        # What is well is said in a measure of its own.
        kind = getattr(record, "kind", "") or NUMBERS.sub("0", text)
        if level != WARNING or self._repeats.allows(kind, level=level, text=text):
            fields = {} if record.name == LOGGER.name else {"logger": record.name}
            self._write(record.created, level, text, fields | getattr(record, "fields", {}), record.exc_info)

    def settle(self, *, at_end: bool = False) -> None:
        """Say how often more the same was said than was written."""
        for level, text, more in self._repeats.over(at_end=at_end):
            said = f"{text} (said {more:,} times more in {WINDOW_S:.0f} s)"
            now_s = SystemClock().now_ns() / SECOND_NS
            self._write(now_s, level, said, {"repeated": more, "within_s": WINDOW_S}, None)

    def _write(self, moment_s: float, level: int, text: str, fields: Mapping[str, Any], trouble: Any) -> None:  # noqa: ANN401
        if self.form is Form.TEXT:
            traceback = "\n" + logging.Formatter().formatException(trouble) if trouble else ""
            line = redacted(text + traceback)
        else:
            told = {
                "time": datetime.fromtimestamp(moment_s, tz=UTC).isoformat(timespec="milliseconds"),
                "level": logging.getLevelName(level).lower(),
                "part": self.part or None,
                "run": fields.get("run") or self.run or None,
                "message": redacted(text.removeprefix(f"{self.part}: ").removeprefix("edgewise: ")),
            }
            told |= _harmless({name: value for name, value in fields.items() if name != "run"})
            if trouble:
                told["traceback"] = redacted(logging.Formatter().formatException(trouble))
            line = json.dumps(told, ensure_ascii=False)
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints talk


SPEAKER: Final = Speaker()
LOGGER.addHandler(SPEAKER)
LOGGER.setLevel(logging.INFO)
LOGGER.propagate = False


def speak(how: Form, *, part: str, run: str = "") -> None:
    """Say from now on who speaks; in JSON also what libraries warn of, and an exception that nobody caught."""
    SPEAKER.form, SPEAKER.part, SPEAKER.run = how, part, run
    atexit.register(SPEAKER.settle, at_end=True)
    if how is Form.JSON:
        logging.getLogger().addHandler(SPEAKER)
        logging.captureWarnings(capture=True)
        sys.excepthook = _uncaught


def form() -> Form:
    """Give how talk is written; where programs read it, nothing is drawn on stderr."""
    return SPEAKER.form


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    LOGGER.critical("%s: %s", kind.__name__, error, exc_info=(kind, error, trace))
