"""Engines side by side as a table for the terminal, as a page's table, and as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Group, RenderableType

from compare.engines.speeds import TEST_IMAGES, Measured, Speeds
from edgewise import show
from edgewise.errors import ConfigError
from edgewise.show import NOT_MEASURED, cell
from models import card
from models.engine import NAMES, model_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = {"keras": "#0072b2", "onnx": "#d55e00", "openvino": "#009e73", "litert": "#cc79a7"}
"""Of the libraries: four of Okabe and Ito's, told apart by every eye; the markers tell without colour."""
MARKERS: Final = {"keras": "o", "onnx": "s", "openvino": "^", "litert": "D"}
DASHES: Final = {"": "-", "bf16": "-.", "int8": "--"}
"""Of the precisions."""
PANEL_INCHES: Final = (4.4, 4.4)
LEGEND_INCHES: Final = 2.4


def headings(found: Speeds) -> tuple[tuple[str, str], tuple[str, ...]]:
    """Name the columns: those of words, those of numbers."""
    batches = tuple(f"batch {batch}" for batch in found.settings.batches)
    return ("engine", "cores"), (*batches, "accuracy %", f"as {found.reference} %")


def rows(found: Speeds) -> Iterator[tuple[str, ...]]:
    """Give the table's rows: each engine with each number of cores; one row for an engine that could not run."""
    for one in found.engines:
        shares = [cell(None if share is None else share * 100, digits=2) for share in (one.accuracy, one.agreement)]
        for cores in found.settings.cores if one.speeds else ():
            speeds = (one.speed(cores=cores, batch=batch) for batch in found.settings.batches)
            rates = (cell(None if speed is None else speed.rate_hz, digits=0) for speed in speeds)
            yield (one.engine, str(cores), *rates, *shares)
        if not one.speeds:
            yield (one.engine, NOT_MEASURED, *[NOT_MEASURED] * len(found.settings.batches), *shares)


def notes(found: Speeds) -> Iterator[str]:
    """Say what stands beside the table: how it was made, and why what is not there is not there."""
    settings = found.settings
    yield f"{found.machine}. {found.at}."
    yield (
        f"Images a second: the median of {settings.rounds} rounds that alternate between the engines, each "
        f"{settings.each_s:g} s of calls or more, on images in memory; as many threads as cores."
    )
    yield (
        f"Accuracy, and the share of the labels that {found.reference}'s own plainest call gives too: "
        f"of {settings.images:,} test images."
    )
    if found.reference_missing is not None:
        yield f"{NOT_MEASURED}, {found.reference}: {found.reference_missing}"
    for one in found.engines:
        if one.missing is not None:
            yield f"{NOT_MEASURED}, {one.engine}: {' '.join(one.missing.split())}"
    yield "BigDL runs in the cluster alone: edgewise models max --on cluster"


def rendered(found: Speeds) -> RenderableType:
    """Lay it out for the terminal."""
    words, numbers = headings(found)
    table = show.grid(*words, numbers=numbers)
    for row in rows(found):
        table.add_row(*row)
    return Group(*show.titled(f"{found.model}: images a second by engine", table, *notes(found)))


def markdown(found: Speeds) -> str:
    """Write it for a page."""
    words, numbers = headings(found)
    lines = [
        f"`{command(found)}`, with {found.model}:",
        "",
        f"| {' | '.join((*words, *numbers))} |",
        f"|{'---|' * len(words)}{'---:|' * len(numbers)}",
        *(f"| {' | '.join(row)} |" for row in rows(found)),
        "",
        *(f"* {note}" for note in notes(found)),
    ]
    return "\n".join(lines)


def command(found: Speeds) -> str:
    """Write the command that gives such a table."""
    settings = found.settings
    words = ["edgewise models bench", "--model", settings.model]
    if settings.engines != tuple(NAMES):
        words += ["--engines", ",".join(settings.engines)]
    for option, numbers in (("--batches", settings.batches), ("--cores", settings.cores)):
        words += [option, ",".join(map(str, numbers))]
    words += ["--rounds", str(settings.rounds), "--each-s", f"{settings.each_s:g}"]
    return " ".join(words if settings.images == TEST_IMAGES else [*words, "--images", str(settings.images)])


def markers(name: str) -> tuple[str, str]:
    """Give the two lines of a page between which a model's table belongs."""
    return f"<!-- bench {name}: from here -->", f"<!-- bench {name}: to here -->"


def cut(page: Path, name: str) -> tuple[str, str]:
    """Give what stands on a page before and after a model's table, markers and all.

    Raises:
        ConfigError: it is no such page.
    """
    begin, end = markers(name)
    try:
        text = page.read_text()
    except OSError as error:
        raise ConfigError(f"--page {page}: {error.strerror}") from error
    before, found, rest = text.partition(f"{begin}\n")
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ConfigError(f"--page {page} has no place for {name}: add the lines {begin} and {end}")
    return before + found, closed + after


def refuse(*, model: str, plot: Path | None, page: Path | None) -> None:
    """Raise ConfigError for a page or picture that could not be written: before anything is measured."""
    if plot is not None and not plot.absolute().parent.is_dir():
        raise ConfigError(f"--plot {plot}: there is no folder {plot.parent}")
    if page is not None:
        cut(page, card.known(model_file(model)).identity.partition("@")[0])


def show_all(found: Speeds, *, as_json: bool, plot: Path | None, page: Path | None) -> None:
    """Print the table on stdout; write picture and page where they are wanted.

    Raises:
        ConfigError: a file cannot be written.
    """
    if as_json:
        show.text(found.model_dump_json())
    else:
        show.table(rendered(found))
    if page is not None:
        write_page(page, found)
    if plot is not None:
        draw(plot, found)


def write_page(page: Path, found: Speeds) -> None:
    """Put the table into a page, in place of the one that was there.

    Raises:
        ConfigError: see cut.
    """
    before, after = cut(page, found.name)
    partial = page.with_name(f".{page.name}.part")
    partial.write_text(f"{before}\n{markdown(found)}\n\n{after}")
    partial.replace(page)


def draw(place: Path, found: Speeds) -> None:
    """Write the picture, as SVG, whole or not at all.

    Raises:
        ConfigError: the file cannot be written.
    """
    import matplotlib as mpl

    partial = place.with_name(f".{place.name}.part")
    try:
        # Letters stay letters, and the same figures give the same bytes.
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgewise"}):
            picture(found).savefig(partial, format="svg", metadata={"Date": None})
        partial.replace(place)
    except OSError as error:
        raise ConfigError(f"--plot {place}: {error.strerror}; name a file that can be written") from error


def picture(found: Speeds) -> "Figure":
    """Draw speed by batch size: one panel for each number of cores, one line for each engine."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    cores, batches = found.settings.cores, found.settings.batches
    width, height = PANEL_INCHES
    figure = Figure(figsize=(width * len(cores) + LEGEND_INCHES, height), layout="constrained")
    panels = figure.subplots(1, len(cores), sharey=True, squeeze=False)[0]
    for number, axes in zip(cores, panels, strict=True):
        for one in found.engines:
            _line(axes, one, cores=number, batches=batches)
        axes.set(title=f"{number} core{'s' * (number > 1)}", xlabel="images in a call", xscale="log", yscale="log")
        axes.xaxis.set_major_locator(FixedLocator(batches))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.grid(which="both", alpha=0.3)
    panels[0].set_ylabel("images a second")
    figure.suptitle(f"{found.model}\n{found.machine}", fontsize="small")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", title="engine, accuracy")
    return figure


def _line(axes: "Axes", one: Measured, *, cores: int, batches: Sequence[int]) -> None:
    """Draw one engine: medians, with the lowest and highest round; only its name where there is nothing."""
    library, _, precision = one.engine.partition("-")
    found = [(batch, speed) for batch in batches if (speed := one.speed(cores=cores, batch=batch)) is not None]
    worth = NOT_MEASURED if one.accuracy is None else f"{one.accuracy:.2%}"
    rates = [speed.rate_hz for _, speed in found]
    axes.errorbar(
        [batch for batch, _ in found],
        rates,
        yerr=[
            [speed.rate_hz - speed.lowest_hz for _, speed in found],
            [speed.highest_hz - speed.rate_hz for _, speed in found],
        ],
        color=COLOURS[library],
        marker=MARKERS[library],
        markersize=4,
        capsize=2,
        linestyle=DASHES[precision],
        label=f"{one.engine}, {worth}",
    )
