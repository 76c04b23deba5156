"""The trained models of the systems re-created here are not ours to ship: their tests need them named."""

import os
from pathlib import Path
from typing import Final

import pytest

REFERENCE: Final = "EDGEWISE_REFERENCE"
"""The folder that holds them, as ``make references REFERENCE=...`` says it."""
LEFT_OUT: Final = pytest.StashKey[int]()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take the tests of the references out when no folder is named; after those that nobody asked for."""
    if os.environ.get(REFERENCE):
        return
    needing = [item for item in items if "reference" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in needing]
    config.hook.pytest_deselected(items=needing)
    config.stash[LEFT_OUT] = len(needing)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say that they were taken out, and what runs them."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} tests of the reference models left out, no folder named; "
            "run them with: make references REFERENCE=/path/to/folder"
        )


@pytest.fixture(scope="session")
def reference() -> Path:
    """Give the folder with the trained models of the systems re-created here."""
    folder = Path(os.environ[REFERENCE])
    assert folder.is_dir(), f"{REFERENCE}={folder} is no folder"
    return folder
