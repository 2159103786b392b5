"""Plots of the experiments on the simulated light: measured points on their closed forms."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.cli._plotting import COLORS, INK, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mdiqkd_net.laboratory.finding import Finding

_COLUMNS: Final = 2


def draw(path: Path, findings: "Sequence[Finding]") -> None:
    """Draw every finding, a panel for each experiment, into a PNG, SVG or PDF file.

    A curve is drawn with its points; numbers of events without one as deviations in standard
    deviations, sorted, beside those of a normal distribution. Of repeats the first is drawn.
    """
    first: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        first.setdefault((finding.experiment, finding.case), finding)
    panels: dict[str, list[Finding]] = {}
    for finding in first.values():
        panels.setdefault(finding.experiment, []).append(finding)
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    with figure(path, 5.6 * columns, 4.0 * rows) as sheet:
        for i, (name, found) in enumerate(panels.items(), 1):
            axes = sheet.add_subplot(rows, columns, i)
            axes.set_title(name.replace("_", " "), color=INK, loc="left")
            axes.grid(visible=True, linewidth=0.4, alpha=0.5)
            for color, finding in zip(COLORS * len(found), found, strict=False):
                if finding.points:
                    _curve(axes, finding, color)
                else:
                    _deviations(axes, finding, color)
            axes.legend(frameon=False, fontsize=9.0)


def _curve(axes: "Axes", finding: "Finding", color: str) -> None:
    points = sorted(finding.points, key=lambda p: p.at)
    at = [p.at for p in points]
    axes.plot(at, [p.expected for p in points], color=color, linewidth=1.4)
    axes.errorbar(
        at,
        [p.measured for p in points],
        yerr=[p.sigma for p in points],
        color=color,
        linestyle="",
        marker="o",
        markersize=4.0,
        capsize=2.0,
        label=f"{finding.case or finding.experiment} (p = {finding.p_value:.2g})",
    )
    axes.set_xlabel(finding.axis, color=INK)
    axes.set_ylabel(finding.quantity, color=INK)


def _deviations(axes: "Axes", finding: "Finding", color: str) -> None:
    from scipy.stats import norm

    # Where little is expected the deviation of a whole number is not normal; not drawn.
    found = sorted(row.deviation for row in finding.rows if row.expected >= 25.0)
    at = norm.ppf([(i + 0.5) / len(found) for i in range(len(found))])
    axes.plot(at, at, color=INK, linewidth=0.8)
    axes.plot(
        at,
        found,
        color=color,
        linestyle="",
        marker="o",
        markersize=3.5,
        label=f"{finding.case} (p = {finding.p_value:.2g})",
    )
    axes.set_xlabel("quantile of a normal deviation", color=INK)
    axes.set_ylabel("deviation of counts (σ)", color=INK)
