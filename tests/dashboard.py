"""``python -m tests.dashboard docs/dashboard.png``: the dashboard of a real run, drawn without Grafana.

A demo runs under a real Prometheus; each panel's own queries are asked for the time of the run,
and drawn where the panel stands, in its unit, under its title. It shows what the queries give
and how the panels lie; the looks are not Grafana's.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from compare.runs.observing import Observing
from edgewise import addresses
from edgewise.clock import SECOND_NS, SystemClock
from tests.observing import DASHBOARD, Prometheus, Series, prometheus

COLUMNS: Final = 24
"""Of Grafana's grid."""
CELL: Final = (0.62, 0.33)
"""Of the grid, inches."""
DPI: Final = 90
COLOURS: Final = 128
"""Of the picture: it is to be small."""
SCALE: Final = {"bytes": 2**20}
"""What values are divided by before they are drawn: so the axis has round numbers."""
LOOK_BACK_S: Final = 1800
END_S: Final = 4.0
"""Before the last frame: then cameras are there, and rates are not of what has gone."""
DEMO: Final = ("--frames", "900", "--cameras", "4", "--rate-hz", "15")
"""A minute of 60 frames a second."""


def said(value: float, unit: str) -> str:
    """Write a value as its panel's unit wants it."""
    if unit == "percentunit":
        return f"{value:.0%}"
    steps: Mapping[str, Sequence[tuple[float, str]]] = {
        "s": ((1, "s"), (1e-3, "ms"), (1e-6, "us")),
        "bytes": ((1, "MiB"),),  # see SCALE
        "Bps": ((1e6, "MB/s"), (1e3, "kB/s"), (1, "B/s")),
    }
    for size, name in steps.get(unit, ()):
        if abs(value) >= size:
            return f"{value / size:,.0f} {name}" if abs(value) >= 100 * size else f"{value / size:.3g} {name}"
    return "0" if value == 0 else f"{value:,.4g}"


def named(target: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Name a line as the panel's legend does."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target["legendFormat"])


class Drawing:
    """The whole dashboard on one sheet."""

    def __init__(self, watched: Prometheus, *, from_s: float, to_s: float) -> None:
        self._watched, self._from_s, self._to_s = watched, from_s, to_s
        self._rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in DASHBOARD["panels"])
        self.figure = Figure(figsize=(COLUMNS * CELL[0], self._rows * CELL[1]), dpi=DPI, facecolor="#f4f5f5")
        for panel in DASHBOARD["panels"]:
            self._panel(panel)

    def _panel(self, panel: Mapping[str, Any]) -> None:
        place = panel["gridPos"]
        left, top = place["x"] / COLUMNS, 1 - place["y"] / self._rows
        if panel["type"] == "row":
            self.figure.text(left + 0.005, top - 0.6 / self._rows, panel["title"], size=12, weight="bold", va="center")
            return
        defaults = panel["fieldConfig"]["defaults"]
        gap = (0.12 / COLUMNS, 0.2 / self._rows)
        wide, high = place["w"] / COLUMNS - 2 * gap[0], place["h"] / self._rows - gap[1]
        frame = self.figure.add_axes((left + gap[0], top - high, wide, high), facecolor="white", xticks=[], yticks=[])
        for side in frame.spines.values():
            side.set_color("#d8d9da")
        title = top - 0.65 / self._rows
        self.figure.text(left + 2.5 * gap[0], title, panel["title"], size=8.5, weight="bold", va="center")
        found = [
            (target, self._watched.ranged(target["expr"], from_s=self._from_s, to_s=self._to_s))
            for target in panel["targets"]
        ]
        match panel["type"]:
            case "stat":
                last = [(some[0][1][-1][1], named(target, {})) for target, some in found if some]
                text = (
                    "\n".join(f"{value:,.{defaults.get('decimals', 0)}f} {name}" for value, name in last) or "No data"
                )
                frame.text(0.5, 0.42, text, size=20 if len(last) == 1 else 13, ha="center", va="center")
            case "table":
                self._table(frame, [labels for _, some in found for labels, _ in some])
            case _:
                self._lines(defaults, found, (left, top, place["w"] / COLUMNS, place["h"]))

    def _table(self, frame: Axes, rows: Sequence[Mapping[str, str]]) -> None:
        names = list(dict.fromkeys(name for labels in rows for name in labels))
        lines = [names, *([labels.get(name, "") for name in names] for labels in rows)]
        widths = [max(len(line[place]) for line in lines) + 2 for place in range(len(names))]
        text = "\n".join("".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
        frame.text(0.02, 0.82, text, size=8, family="monospace", va="top")

    def _lines(
        self,
        defaults: Mapping[str, Any],
        found: Sequence[tuple[Mapping[str, str], Sequence[Series]]],
        place: tuple[float, float, float, float],
    ) -> None:
        (left, top, wide, high), unit = place, defaults["unit"]
        inside = (
            left + 1.1 / COLUMNS,
            top - (high - 2.3) / self._rows,
            wide - 1.4 / COLUMNS,
            (high - 3.6) / self._rows,
        )
        axes = self.figure.add_axes(inside, facecolor="none")
        stacked = defaults["custom"]["stacking"]["mode"] == "normal"
        moments, below = np.arange(self._from_s, self._to_s, 1.0), 0.0
        for target, some in found:
            for labels, points in some:
                at_s, values = np.array(points).T
                values /= SCALE.get(unit, 1)
                if stacked:
                    height = np.interp(moments, at_s, values, left=0, right=0)
                    axes.fill_between(
                        moments - self._from_s, below, below + height, alpha=0.6, lw=0, label=named(target, labels)
                    )
                    below = below + height
                else:
                    axes.plot(at_s - self._from_s, values, lw=1.2, label=named(target, labels))
        axes.set_xlim(0, self._to_s - self._from_s)
        axes.set_ylim(0, None if axes.dataLim.y1 > 0 else 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: said(value, unit)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
        axes.tick_params(labelsize=7, length=0)
        axes.grid(color="#e7e8e9", lw=0.6)
        for side in axes.spines.values():
            side.set_visible(False)
        handles, names = axes.get_legend_handles_labels()
        most = max(1, round(wide * 12))
        axes.legend(
            handles[: 3 * most],
            names[: 3 * most],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.12),
            ncols=min(most, len(names)) or 1,
            frameon=False,
            fontsize=7,
        )


def draw(out: Path, watched: Prometheus, *, from_s: float, to_s: float) -> None:
    """Draw the time between two moments."""
    Drawing(watched, from_s=from_s, to_s=to_s).figure.savefig(out)
    Image.open(out).convert("RGB").quantize(COLOURS).save(out, optimize=True)


def main() -> None:
    """Run a demo under a Prometheus, and draw it."""
    out, observing = Path(sys.argv[1]), Observing(port=addresses.free_port())
    with tempfile.TemporaryDirectory(prefix="edgewise-dashboard-") as folder:
        command = [sys.executable, "-m", "edgewise", "demo", "--runs", folder, "--metrics-port"]
        command += [str(observing.port), *DEMO, *sys.argv[2:]]
        with prometheus(Path(folder) / "prometheus", observing.ports()) as watched:
            subprocess.run(command, check=False)  # a run that is INVALID has a dashboard too
            now_s = SystemClock().now_ns() / SECOND_NS
            sending = 'sum(rate(edgewise_frames_sent_total{part="fleet"}[3s])) > 0'
            sent = watched.ranged(sending, from_s=now_s - LOOK_BACK_S, to_s=now_s)
            if not sent:
                raise SystemExit("the demo sent no frame; see what it said above")
            moments = [at_s for at_s, _ in sent[0][1]]
            draw(out, watched, from_s=moments[0], to_s=moments[-1] - END_S)


if __name__ == "__main__":
    main()
