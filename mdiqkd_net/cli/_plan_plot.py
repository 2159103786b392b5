"""The plot of a plan: what each pair gets beside what it wants, and pairs among the curves."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdiqkd_net.cli._plotting import COLORS, INK, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Result = dict[str, Any]

_DASHES: Final = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_MARKS: Final = ("o", "s", "^", "D")
_N_LOSSES: Final = 9
_BEYOND_DB: Final = 12.0
_DECADES_BELOW: Final = 0.4


def losses(plan: Result) -> list[float]:
    """Where to compute curves: from no loss to some way beyond the pair with the greatest."""
    greatest = max((_loss_db(pair) for _, pair in _placed(plan)), default=0.0)
    stop = 5.0 * math.ceil((greatest + _BEYOND_DB) / 5.0)
    return [stop * i / (_N_LOSSES - 1) for i in range(_N_LOSSES)]


def draw(path: Path, plan: Result, curves: Sequence[Result]) -> None:
    """Draw the plan into a PNG, SVG or PDF file.

    Args:
        path: Of the file.
        plan: Of `planning.plan.assemble`.
        curves: Points with `detectors`, `relay`, `loss_db` and `key_bits_per_s`.
    """
    rows = len(plan["plans"][0]["pairs"]) * (1 + 0.35 * (len(plan["plans"]) - 1))
    with figure(path, 13.0, max(4.9, 1.6 + 0.34 * rows)) as sheet:
        left, right = sheet.subplots(1, 2, width_ratios=(1.0, 1.05))
        _bars(left, plan)
        _curves(right, plan, curves)
        sheet.suptitle(
            plan["title"], x=0.01, ha="left", color=INK, fontsize=13.5, fontweight="bold"
        )


def _bars(axes: "Axes", plan: Result) -> None:
    plans = plan["plans"]
    pairs = plans[0]["pairs"]
    height = 0.8 / len(plans)
    rates = [pair["key_bits_per_s"] for one in plans for pair in one["pairs"]]
    wanted = [_wanted_bits_per_s(pair) for pair in pairs]
    positive = [rate for rate in (*rates, *wanted) if rate > 0.0]
    low, high = (min(positive), max(positive)) if positive else (1.0, 10.0)
    # Whole decades: on a logarithmic axis bars begin somewhere, and should do so at a round number.
    floor = 10.0 ** math.floor(math.log10(0.5 * low))
    axes.set_xscale("log")
    axes.set_xlim(floor, 10.0 ** math.ceil(math.log10(1.1 * high)))
    axes.xaxis.set_minor_formatter("")
    for number, one in enumerate(plans):
        shift = (number - 0.5 * (len(plans) - 1)) * height
        for row, pair in enumerate(one["pairs"]):
            color = COLORS[number % len(COLORS)]
            rate, at = pair["key_bits_per_s"], row + shift
            if rate > 0.0:
                axes.barh(at, rate - floor, left=floor, height=0.86 * height, color=color)
            else:
                axes.text(
                    floor * 1.15, at, "no key", va="center", color=color,
                    fontsize=min(9.5, 26.0 * height),
                )  # fmt: skip
        axes.barh([math.nan], [1.0], color=COLORS[number % len(COLORS)], label=_name(one))
    for row, rate in enumerate(wanted):
        if rate > 0.0:
            axes.plot(
                [rate, rate], [row - 0.46, row + 0.46], color=INK, linewidth=2.4,
                solid_capstyle="butt", label="demand" if rate == max(wanted) else None,
            )  # fmt: skip
    axes.set_yticks(range(len(pairs)), [_label(pair, plans) for pair in pairs])
    axes.set_ylim(len(pairs) - 0.5, -0.5)
    axes.set_xlabel("secret bits per second, pairs in turn", color=INK)
    _frame(axes, "x")
    handles, labels = axes.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    if len(once) > 1:
        axes.legend(
            list(once.values()), list(once), frameon=False, labelcolor=INK, ncols=len(once),
            loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2, handlelength=1.2,
        )  # fmt: skip


def _curves(axes: "Axes", plan: Result, curves: Sequence[Result]) -> None:
    colors = {one["detectors"]: COLORS[i % len(COLORS)] for i, one in enumerate(plan["plans"])}
    relays = list(dict.fromkeys(point["relay"] for point in curves))
    for choice, color in colors.items():
        for i, relay in enumerate(relays):
            points = [p for p in curves if p["detectors"] == choice and p["relay"] == relay]
            axes.plot(
                [point["loss_db"] for point in points],
                [point["key_bits_per_s"] or math.nan for point in points],
                color=color, linestyle=_DASHES[i % len(_DASHES)], linewidth=2.0,
                label=choice if len(relays) == 1 else f"{choice}, {relay}",
            )  # fmt: skip
    all_relays = list(dict.fromkeys(relay["relay"] for relay in plan["plans"][0]["relays"]))
    for choice, pair in _placed(plan):
        if pair["key_bits_per_s_alone"] > 0.0:
            mark = _MARKS[all_relays.index(pair["relay"]) % len(_MARKS)]
            axes.plot(
                _loss_db(pair), pair["key_bits_per_s_alone"], mark, color=colors[choice],
                markersize=6.5, markeredgecolor="white", markeredgewidth=0.9,
            )  # fmt: skip
    if len(all_relays) > 1:
        for i, relay in enumerate(all_relays):
            axes.plot(
                [], [], _MARKS[i % len(_MARKS)], color=INK, markersize=6.5,
                label=f"pairs at {relay}",
            )  # fmt: skip
    else:
        axes.plot([], [], "o", color=INK, markersize=6.5, label="pairs")
    rates = [point["key_bits_per_s"] for point in curves]
    rates += [pair["key_bits_per_s_alone"] for _, pair in _placed(plan)]
    positive = [rate for rate in rates if rate > 0.0]
    if positive:
        axes.set_yscale("log")
        low = 10.0 ** (math.floor(math.log10(min(positive))) - _DECADES_BELOW)
        axes.set_ylim(low, 2.5 * max(positive))
    else:
        axes.text(0.5, 0.5, "no key anywhere", transform=axes.transAxes, ha="center", color=INK)
    ends = [point["loss_db"] for point in curves if point["key_bits_per_s"] > 0.0]
    ends += [_loss_db(pair) for _, pair in _placed(plan)]
    axes.set_xlim(0.0, 2.0 + max(ends))
    axes.set_xlabel("loss before the detectors, both arms together (dB)", color=INK)
    axes.set_ylabel("secret bits per second, alone at the relay", color=INK)
    first = plan["plans"][0]["pairs"][0]["users"][0]
    whose = f", both users set like {first}" if plan["settings"] == "file" else ""
    title = f"curves: two like arms{whose}"
    axes.set_title(title, loc="left", color=INK, fontsize=10.5, pad=8)
    _frame(axes, "both")
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")


def _frame(axes: "Axes", grid: str) -> None:
    axes.grid(which="major", axis="x" if grid == "x" else "both", color="#e3e6ea", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both")
    axes.tick_params(which="minor", length=0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _placed(plan: Result) -> list[tuple[str, Result]]:
    """Pairs that have a relay, with the name of the detectors."""
    return [
        (one["detectors"], pair)
        for one in plan["plans"]
        for pair in one["pairs"]
        if pair["relay"] is not None
    ]


def _loss_db(pair: Result) -> float:
    return sum(float(arm["fiber"] + (arm["insertion"] or 0.0)) for arm in pair["loss_db"].values())


def _wanted_bits_per_s(pair: Result) -> float:
    wanted = pair["keys_per_hour_wanted"]
    return 0.0 if wanted is None else float(wanted * pair["key_bits"] / 3600.0)


def _label(pair: Result, plans: Sequence[Result]) -> str:
    """The pair, and its loss, which with several relays may depend on the detectors."""
    placed = [
        other
        for one in plans
        for other in one["pairs"]
        if other["users"] == pair["users"] and other["relay"] is not None
    ]
    losses_db = sorted({f"{_loss_db(other):.1f}" for other in placed}, key=float)
    where = f"{' or '.join(losses_db)} dB" if losses_db else "no relay"
    return f"{' – '.join(pair['users'])}\n{where}"


def _name(one: Result) -> str:
    return str(one["detectors"])
