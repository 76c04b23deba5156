"""The tree of errors, and what their texts say."""

import pytest

from edgewise import errors


def drawn(cls: type[Exception], *, depth: int = 0) -> str:
    below = "".join(drawn(child, depth=depth + 1) for child in cls.__subclasses__())
    return f"{'    ' * depth}{cls.__name__}\n{below}"


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    assert f"\n\n{drawn(errors.EdgewiseError)}\n" in f"{errors.__doc__}"


def test_unreachable_says_what_where_and_what_to_do() -> None:
    error = errors.UnreachableError("MQTT broker", at="localhost:1883", hint="start it with: edgewise up")
    assert str(error) == "MQTT broker does not answer at localhost:1883; start it with: edgewise up"


def test_a_frame_error_says_the_rule_and_what_was_found() -> None:
    error = errors.FrameError("magic", "starts with 0000")
    assert str(error) == "magic: starts with 0000"
    assert error.rule == "magic"


@pytest.mark.parametrize("cls", [errors.ConfigError, errors.MissingError, errors.InvalidRunError])
def test_the_others_say_what_they_were_given(cls: type[errors.EdgewiseError]) -> None:
    assert str(cls("no Java 17 found; install one")) == "no Java 17 found; install one"


@pytest.mark.parametrize(
    ("cls", "exit_code", "retriable"),
    [
        (errors.EdgewiseError, 1, False),
        (errors.ConfigError, 2, False),
        (errors.RefusedError, 2, False),
        (errors.MissingError, 3, False),
        (errors.UnreachableError, 3, True),
        (errors.FrameError, 1, False),
        (errors.InvalidRunError, 4, False),
    ],
)
def test_each_class_knows_its_exit_code_and_whether_waiting_helps(
    cls: type[errors.EdgewiseError], exit_code: int, *, retriable: bool
) -> None:
    assert (cls.exit_code, cls.retriable) == (exit_code, retriable)
