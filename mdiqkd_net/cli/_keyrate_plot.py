"""The plot of a sweep: the finite key, and the two limits that it is measured against."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.cli._keyrate_sweep import infinite_decoy
from mdiqkd_net.cli._plotting import BLUE, GRAY, INK, ORANGE, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mdiqkd_net.planning.prediction import Result

_LABELS: Final = {
    "length_km": "fiber, both arms together (km)",
    "alice.length_km": "Alice's fiber (km)",
    "bob.length_km": "Bob's fiber (km)",
    "n_pulses": "pulse pairs in the block",
    "eps_sec": "secrecy budget eps_sec",
    "f_ec": "efficiency of reconciliation f",
    "receiver.efficiency": "detector efficiency",
    "receiver.dark_probability": "dark counts per detector and gate",
    "receiver.misalignment": "misalignment (probability of a flip)",
    "receiver.mode_overlap": "overlap of the modes",
}

_SUPERSCRIPT: Final = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
_DECADES_BELOW: Final = 0.4


def draw(path: Path, rows: Sequence["Result"]) -> None:
    """Draw the rows of a sweep (one at least) into a PNG, SVG or PDF file."""
    rows = sorted(rows, key=lambda row: float(row["value"]))
    with figure(path, 7.6, 4.9) as sheet:
        axes = sheet.add_subplot()
        if "bits_wanted" in rows[0]:
            _times(axes, rows)
        else:
            _curves(axes, rows)
        _frame(axes, rows)


def _curves(axes: "Axes", rows: Sequence["Result"]) -> None:
    values = [row["value"] for row in rows]
    limit = [infinite_decoy(row) for row in rows]
    asymptotic = [row["asymptotic_rate_per_pulse"] for row in rows]
    keys = [row["rate_per_pulse"] for row in rows]
    for rates, color, style, width, label in (
        (limit, GRAY, (0, (1, 1.5)), 1.6, "infinite decoy"),
        (asymptotic, ORANGE, (0, (5, 2)), 1.6, "same settings, all gains exact"),
        (keys, BLUE, "-", 2.4, _key_label(rows)),
    ):
        shown = [rate if rate > 0.0 else math.nan for rate in rates]
        # A curve that ends at its first point without a key would otherwise be a lonely dot.
        marker = "o" if len(rows) <= 16 else ""
        axes.plot(
            values, shown, color=color, linestyle=style, linewidth=width, label=label,
            marker=marker, markersize=4.0, solid_capstyle="round",
        )  # fmt: skip
    positive = [rate for rate in (*keys, *asymptotic, *limit) if rate > 0.0]
    if positive:
        axes.set_yscale("log")
        # The limits fall off a cliff; the scale follows the curves that people can use.
        useful = [rate for rate in keys if rate > 0.0] or positive
        axes.set_ylim(
            10.0 ** (math.floor(math.log10(min(useful))) - _DECADES_BELOW), 2.5 * max(positive)
        )
        axes.fill_between(
            values, [rate if rate > 0.0 else math.nan for rate in keys], axes.get_ylim()[0],
            color=BLUE, alpha=0.08, linewidth=0.0,
        )  # fmt: skip
    else:
        axes.text(0.5, 0.5, "no key anywhere", transform=axes.transAxes, ha="center", color=INK)


def _times(axes: "Axes", rows: Sequence["Result"]) -> None:
    """How long the bits of `--bits` take, where they can be had at all."""
    seconds = [row["seconds_needed"] for row in rows]
    axes.plot(
        [row["value"] for row in rows],
        [math.nan if time is None else time for time in seconds],
        color=BLUE, linewidth=2.4, marker="o" if len(rows) <= 16 else "", markersize=4.0,
        solid_capstyle="round",
        label="\n".join(filter(None, (_bits_label(rows), rows[0]["label"]))),
    )  # fmt: skip
    possible = [time for time in seconds if time is not None]
    if not possible:
        axes.text(0.5, 0.5, "not in any block", transform=axes.transAxes, ha="center", color=INK)
        return
    axes.set_yscale("log")
    for mark, name in ((1.0, "second"), (60.0, "minute"), (3600.0, "hour"), (86400.0, "day")):
        if min(possible) < mark < max(possible):
            axes.axhline(mark, color=GRAY, linewidth=1.0, linestyle=(0, (1, 1.5)))
            axes.annotate(
                name, (1.0, mark), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                textcoords="offset points", ha="right", color=GRAY, fontsize=9.5,
            )  # fmt: skip


def _frame(axes: "Axes", rows: Sequence["Result"]) -> None:
    key: str = rows[0]["key"]
    values = [row["value"] for row in rows]
    axes.set_xlabel(_LABELS.get(key, key), color=INK)
    timed = "bits_wanted" in rows[0]
    axes.set_ylabel("seconds of light" if timed else "secret bits per pulse pair", color=INK)
    if min(values) > 0.0 and max(values) >= 100.0 * min(values):
        axes.set_xscale("log")
    if min(values) < max(values):
        axes.set_xlim(min(values), max(values))
    axes.set_title(_title(rows), loc="left", color=INK, fontsize=12.5, fontweight="bold", pad=12)
    axes.grid(which="major", color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both")
    axes.tick_params(which="minor", length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], frameon=False, labelcolor=INK)


def _title(rows: Sequence["Result"]) -> str:
    tuned = "settings optimized at every point" if "settings" in rows[0] else "settings of the file"
    what = "time to a key" if "bits_wanted" in rows[0] else "key rate"
    return f"MDI-QKD {what}, {tuned}"


def _key_label(rows: Sequence["Result"]) -> str:
    lengths = {row["n_pulses"] for row in rows}
    block = f", {_scientific(next(iter(lengths)))} pulse pairs" if len(lengths) == 1 else ""
    budgets = {row["eps_sec"] for row in rows}
    budget = f", \u03b5 = {_scientific(next(iter(budgets)))}" if len(budgets) == 1 else ""
    method = rows[0]["method"]
    if method == "asymptotic":
        return "asymptotic key"
    name = "finite key" if method == "double_scan" else method
    return "\n".join(filter(None, (f"{name}{block}{budget}", rows[0]["label"])))


def _bits_label(rows: Sequence["Result"]) -> str:
    return f"{rows[0]['bits_wanted']} bits at {_scientific(rows[0]['pulse_rate_hz'])} Hz"


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.2e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    power = "10" + str(int(exponent)).translate(_SUPERSCRIPT)
    return str(power) if digits == "1" else f"{digits} · {power}"
