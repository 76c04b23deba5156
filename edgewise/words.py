"""Settings that stand in one word of a command line: ``delay_ms=80,loss_share=0.01``."""

from typing import Any


def settings(said: Any) -> Any:  # noqa: ANN401 - what was said; what is no text is not ours to read
    """Read such a word into its settings by name; the values stay texts, and what is no text stays as it is.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(said, str):
        return said
    found: dict[str, str] = {}
    for piece in said.split(",") if said.strip() else ():
        name, _, value = (part.strip() for part in piece.partition("="))
        if not name or not value or name in found:
            raise ValueError(f"{piece!r} is not NAME=VALUE, or is said twice")
        found[name] = value
    return found
