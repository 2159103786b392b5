"""The plot of what was measured of post-processing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdiqkd_net.cli._plotting import COLORS, GRAY, INK, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mdiqkd_net.laboratory.postprocessing.cases import Row
    from mdiqkd_net.laboratory.postprocessing.hashing import Amplification
    from mdiqkd_net.laboratory.postprocessing.reconciling import Reconciliation

_STYLES: Final = ("-", (0, (4, 2)))
"""Of `RATIOS` of amplification."""


def draw(path: Path, rows: "Sequence[Row]") -> None:
    """Draw speed and f over QBER, and the speed of amplification over size."""
    from mdiqkd_net.laboratory.postprocessing.cases import RATIOS
    from mdiqkd_net.laboratory.postprocessing.hashing import Amplification
    from mdiqkd_net.laboratory.postprocessing.reconciling import Reconciliation

    schemes: dict[str, list[Reconciliation]] = {}
    hashes: dict[str, dict[float, list[Amplification]]] = {}
    for row in rows:
        match row:
            case Reconciliation(refusal=""):
                schemes.setdefault(row.scheme, []).append(row)
            case Amplification():
                hashes.setdefault(row.tier, {}).setdefault(row.ratio, []).append(row)
    with figure(path, 13.2, 4.2) as sheet:
        speed, leak, amplification = sheet.subplots(1, 3)
        for color, (scheme, found) in zip(COLORS * len(schemes), schemes.items(), strict=False):
            _reconciliation(speed, leak, scheme, sorted(found, key=lambda row: row.qber), color)
        qbers = sorted({100.0 * row.qber for found in schemes.values() for row in found})
        for axes, title in (
            (speed, "Reconciliation, both users in one thread (Mbit/s)"),
            (leak, "Leak over the Shannon limit, f"),
        ):
            _finish(axes, title, "QBER (%)")
            axes.set_xticks(qbers, [f"{qber:g}" for qber in qbers])
            axes.set_xticks([], minor=True)
        speed.set_ylim(bottom=0.0)
        leak.axhline(1.0, color=GRAY, linewidth=1.0, linestyle=(0, (1, 1.5)))
        for color, (tier, ratios) in zip(COLORS * len(hashes), hashes.items(), strict=False):
            _amplification(amplification, tier, ratios, color)
        for style, ratio in zip(_STYLES, RATIOS, strict=True):
            amplification.plot([], [], color=GRAY, linestyle=style, label=f"ratio {ratio:g}")
        amplification.set_yscale("log")
        amplification.yaxis.set_major_formatter("{x:g}")
        _finish(amplification, "Amplification, one user (Mbit/s)", "bits of the key")


def _reconciliation(
    speed: "Axes", leak: "Axes", scheme: str, found: "Sequence[Reconciliation]", color: str
) -> None:
    look: dict[str, Any] = {
        "color": color,
        "marker": "o",
        "markersize": 4.5,
        "linewidth": 1.8,
        "label": scheme,
    }
    speed.plot(
        [100.0 * row.qber for row in found],
        [row.n_bits / row.both_cpu_s / 1e6 for row in found],
        **look,
    )
    known = [(100.0 * row.qber, row.f) for row in found if row.f is not None]
    leak.plot([qber for qber, _ in known], [f for _, f in known], **look)


def _amplification(
    axes: "Axes", tier: str, ratios: "dict[float, list[Amplification]]", color: str
) -> None:
    for style, ratio in zip(_STYLES, ratios, strict=True):
        found = ratios[ratio]
        axes.plot(
            [row.n_bits for row in found],
            [row.n_bits / row.cpu_s / 1e6 for row in found],
            color=color,
            linestyle=style,
            marker="o",
            markersize=4.5,
            linewidth=1.8,
            label=tier if style == _STYLES[0] else None,
        )


def _finish(axes: "Axes", title: str, of: str) -> None:
    axes.set_title(title, color=INK, loc="left", fontsize=10.5)
    axes.set_xlabel(of, color=INK)
    axes.set_xscale("log")
    axes.grid(visible=True, linewidth=0.4, alpha=0.5)
    axes.legend(frameon=False, fontsize=9.0)
