"""What `edgewise report` shows of a folder: a run, a comparison, a search, a sweep; or of two: how they differ."""

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from rich.console import RenderableType

from compare.reports import (
    comparison,
    comparison_page,
    comparison_shown,
    difference,
    difference_shown,
    page,
    report,
    series_page,
)
from compare.reports.difference import Differences, Repeated, Run
from compare.reports.series_page import Series
from compare.runs import runfolder
from compare.searches import capacity, crossover, sweep
from edgewise import show
from edgewise.errors import ConfigError

NO_SETTINGS: Final = ("parts", "files")
"""Of a manifest: what each process said of itself, and checksums."""


SERIES: Final[Mapping[str, tuple[type[Series], Callable[[Any], RenderableType]]]] = {
    capacity.NAME: (capacity.Capacity, capacity.rendered),
    crossover.NAME: (crossover.Crossover, crossover.rendered),
    sweep.NAME: (sweep.Sweep, sweep.rendered),
}
"""Searches and sweeps: what each is read as, and how it is laid out."""


PUBLISHED: Final[Mapping[str, type[BaseModel]]] = {
    "comparison": comparison.Comparison,
    **{name.removesuffix(".json"): kind for name, (kind, _) in SERIES.items()},
}
"""What has a JSON Schema in docs/, by the file's name; a run's own is edgewise.summary's."""


def schema_text(name: str) -> str:
    """Give a JSON Schema as it is published."""
    return json.dumps(PUBLISHED[name].model_json_schema(by_alias=True), indent=1) + "\n"


def is_comparison(folder: Path) -> bool:
    """Say whether a folder is of several runs."""
    return (folder / comparison.NAME).exists()


def series(folder: Path) -> Series | None:
    """Read a search or a sweep; None if the folder has none.

    Raises:
        ConfigError: it cannot be read.
    """
    for name, (kind, _) in SERIES.items():
        if (path := folder / name).exists():
            try:
                return kind.model_validate_json(path.read_bytes())
            except (ValidationError, OSError) as error:
                raise ConfigError(f"{path} cannot be read; was it written by another version?") from error
    return None


def laid_out(found: Series) -> RenderableType:
    """Lay a search or a sweep out for the terminal."""
    return next(rendered(found) for kind, rendered in SERIES.values() if isinstance(found, kind))


def show_report(folder: Path, other: Path | None, *, as_json: bool) -> None:
    """Print a run, a comparison, or whether two of a kind differ.

    Raises:
        ConfigError: a folder is of neither, or they are not two of a kind.
    """
    if other is not None:
        found = between(folder, other)
        _show(found, as_json=as_json, laid_out=difference_shown.rendered(found))
    elif (many := series(folder)) is not None:
        _show(many, as_json=as_json, laid_out=laid_out(many))
    elif is_comparison(folder):
        compared = comparison.read(folder)
        _show(compared, as_json=as_json, laid_out=comparison_shown.rendered(compared))
    else:
        report.show(report.read(folder), as_json=as_json)


def _show(found: BaseModel, *, as_json: bool, laid_out: RenderableType) -> None:
    if as_json:
        show.text(found.model_dump_json(by_alias=True))
    else:
        show.table(laid_out)


def write_page(folder: Path, out: Path | None) -> Path:
    """Write the page of a run, a comparison, a search or a sweep; give its path.

    Raises:
        ConfigError: the folder is of neither.
        MissingError: the disk does not take the page.
    """
    if (many := series(folder)) is not None:
        return series_page.write(many, folder, out)
    return comparison_page.write(folder, out) if is_comparison(folder) else page.write(folder, out)


def between(one: Path, other: Path) -> Differences:
    """Compare two folders.

    Raises:
        ConfigError: a folder is of neither kind, or they are not two of a kind.
    """
    for folder in (one, other):
        if series(folder) is not None:
            raise ConfigError(
                f"{folder} is a search or a sweep: give two runs, or two comparisons; its runs stand inside"
            )
    kinds = [is_comparison(folder) for folder in (one, other)]
    if all(kinds):
        return difference.between_comparisons(repeated(one), repeated(other))
    if any(kinds):
        several, single = (one, other) if kinds[0] else (other, one)
        raise ConfigError(
            f"{several} is a comparison of several runs and {single} is one run: "
            "give two runs, or two comparisons; a comparison's runs stand inside its folder"
        )
    return difference.between_runs(run(one), run(other))


def run(folder: Path) -> Run:
    """Read all that is known of a run.

    Raises:
        ConfigError: the folder is none of a run, or something in it cannot be read.
    """
    return Run(
        name=folder.resolve().name,
        summary=report.read(folder),
        settings=settings(folder),
        frames=runfolder.frames(folder),
    )


def repeated(folder: Path) -> Repeated:
    """Read all that is known of a comparison; what its first run was made with, all were.

    Raises:
        ConfigError: something in it cannot be read.
    """
    compared = comparison.read(folder)
    of_runs = (settings(folder / one.folder) for one in compared.runs)
    known = next((found for found in of_runs if found), settings(folder))
    return Repeated(name=folder.resolve().name, comparison=compared, settings=known)


def settings(folder: Path) -> Mapping[str, object]:
    """Read what a run was made with, by dotted name; nothing if neither a manifest nor a scenario says it.

    Raises:
        ConfigError: the manifest or the scenario cannot be read.
    """
    if manifest := runfolder.manifest(folder):
        known = {name: value for name, value in manifest.items() if name not in {*NO_SETTINGS, "scenario"}}
        return flat(manifest.get("scenario", {})) | flat(known)
    path = folder / "scenario.toml"
    try:
        known = flat(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as a scenario: {error}; was the run cut off?") from error
    # A model's file name is no identity.
    return {name: value for name, value in known.items() if name.rpartition(".")[2] != "model"}


def flat(values: Mapping[str, Any], *, inside: str = "") -> dict[str, object]:
    """Give nested values by their dotted names."""
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, inside=f"{inside}{name}.")
        else:
            found[inside + name] = value
    return found
