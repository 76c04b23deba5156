"""Every error this kit raises on purpose.

EdgewiseError
    ConfigError
        RefusedError
    MissingError
    UnreachableError
    FrameError
    InvalidRunError
        PartDiedError

A message says what is wrong, which value, and what to do about it. The command line
prints it in one line and leaves with ``exit_code``; anything else is a bug and shows
its traceback.
"""

from collections.abc import Callable, Collection, Sequence
from typing import ClassVar


class EdgewiseError(Exception):
    """Something this kit can explain."""

    exit_code: ClassVar[int] = 1
    retriable: ClassVar[bool] = False


class ConfigError(EdgewiseError):
    """A setting is missing or wrong. Fix it and start again."""

    exit_code = 2


class RefusedError(ConfigError):
    """A broker is there and does not let us: its certificate, our password, or what we may do is wrong."""


class MissingError(EdgewiseError):
    """Something this machine must provide is not there: Java, a download, disk space."""

    exit_code = 3


class UnreachableError(EdgewiseError):
    """The other side does not answer. Waiting may help."""

    exit_code = 3
    retriable = True

    def __init__(self, who: str, *, at: str, hint: str) -> None:
        super().__init__(f"{who} does not answer at {at}; {hint}")
        self._told = (who, at, hint)

    def __reduce__(self) -> tuple[Callable[..., "UnreachableError"], tuple[str, str, str]]:
        """Let it pass from one process to another."""
        return _unreachable, self._told


def _unreachable(who: str, at: str, hint: str) -> UnreachableError:
    return UnreachableError(who, at=at, hint=hint)


class FrameError(EdgewiseError):
    """These bytes are not a frame and never will be. They belong in ``frames-rejected``.

    ``rule`` is the short name of the rule that was broken, as the rejection carries it.
    """

    def __init__(self, rule: str, found: str) -> None:
        super().__init__(f"{rule}: {found}")
        self.rule = rule


class InvalidRunError(EdgewiseError):
    """The run ended, but its numbers must not be used."""

    exit_code = 4


class PartDiedError(InvalidRunError):
    """A part of a run ended that should not have."""

    def __init__(self, part: str, *, code: int | None, log: str, last_words: Sequence[str]) -> None:
        self.part, self.code, self.log, self.last_words = part, code, log, list(last_words)
        said = "".join(f"\n  | {line}" for line in last_words)
        super().__init__(f"the {part} ended with exit code {code}; the end of {log}:{said}")


def meant(name: str, known: Collection[str]) -> str:
    """Say of a name that is not known which one was perhaps meant, or which there are."""
    import difflib  # late: only mistakes need it

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
