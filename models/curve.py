"""How a training went, as a picture: accuracy by epoch, on the test and on the training images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

SIZE_INCHES: Final = (7.0, 4.2)
TEST, TRAIN = "#0072b2", "#d55e00"
"""Blue and vermilion of Okabe and Ito, told apart by every eye; the dashes tell without colour."""
MINUTE_S: Final = 60


def draw(place: Path, *, network: str, epochs: Sequence[Mapping[str, float]], of: int) -> None:
    """Write the picture of the epochs done so far, of so many, as SVG: whole or not at all."""
    numbers = [done["epoch"] for done in epochs]
    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    axes.plot(numbers, [done["test_accuracy"] for done in epochs], color=TEST, marker="o", markersize=3, label="test")
    axes.plot(
        numbers,
        [done["train_accuracy"] for done in epochs],
        color=TRAIN,
        linestyle="--",
        label="training (shifted and flipped, while it learns)",
    )
    axes.set(title=title(network, epochs=epochs, of=of), xlabel="epoch", ylabel="images classified rightly")
    axes.set(xlim=(0.5, of + 0.5), ylim=(0, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    partial = place.with_name(f"{place.name}.part")
    # Letters stay letters, and the same curve gives the same bytes.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "edgewise"}):
        figure.savefig(partial, format="svg", metadata={"Date": None})
    partial.replace(place)


def title(network: str, *, epochs: Sequence[Mapping[str, float]], of: int) -> str:
    """Say where the training stands: it is the picture's title."""
    if not epochs:
        return f"{network}: no epoch of {of} yet"
    minutes = sum(done["wall_s"] for done in epochs) / MINUTE_S
    return f"{network}: {epochs[-1]['test_accuracy']:.2%} after {len(epochs)} of {of} epochs, {minutes:,.0f} min"
