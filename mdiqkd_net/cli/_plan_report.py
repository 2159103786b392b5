"""Tables of a plan."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Result = dict[str, Any]

_WIDTH = 112
"""Of tables that do not go to a terminal."""

_SETTINGS = {
    "pair": "the best of each pair",
    "user": "of each user, for all its peers",
    "equal": "one for all users",
    "file": "as in the file",
}


def report(plan: Result) -> None:
    """Print the plan: losses, keys and settings for each set of detectors, then the verdict."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False, markup=False)
    if not console.is_terminal:
        console.width = _WIDTH
    console.print(plan["title"], style="bold", soft_wrap=True)
    label = f" ({plan['label']})" if plan["label"] else ""
    goal = {"worst": " (for the worst pair)", "sum": " (for the sum of all pairs)", None: ""}
    console.print(
        f"Blocks of {plan['n_pulses']:.4g} pulses, eps_sec {plan['eps_sec']:g}; "
        f"{plan['method']}{label}; settings {_SETTINGS[plan['settings']]}{goal[plan['goal']]}.",
        soft_wrap=True,
    )
    for one in plan["plans"]:
        _print_one(console, one, plan["settings"])
    if len(plan["plans"]) > 1:
        console.print(_comparison(plan["plans"]))
    if any(one["cost_per_hour_eur"] is not None for one in plan["plans"]):
        console.print(
            "Costs are those of the detectors at the relays, nothing else. Built-in ones are "
            "placeholders of an order of magnitude; give your own in [detectors.NAME].",
            soft_wrap=True,
        )
    console.print(_verdict(plan), style="bold", soft_wrap=True)


def _print_one(console: "Console", one: Result, settings: str) -> None:
    parameters = one["parameters"]
    console.print()
    console.print(f"Detectors: {one['detectors']} ({parameters['source'] or 'own'})", style="bold")
    console.print(_losses(one))
    console.print(_keys(one))
    console.print(_margins(one))
    if settings != "file":
        console.print(_settings(one, by_pair=settings == "pair"))
    for pair in one["pairs"]:
        if pair["reason"]:
            console.print(f"No key for {_names(pair)}: {pair['reason']}.", soft_wrap=True)
    for relay in one["relays"]:
        if relay["load"] is not None and relay["load"] > 0.0:
            console.print(
                f"{relay['relay']}: turns by demand would take {100.0 * relay['load']:.3g} % of "
                "its time.",
                soft_wrap=True,
            )


def _losses(one: Result) -> "Table":
    table = _table(
        "Loss in dB", ("pair", "relay", "arm"), ("fiber", "insertion", "detector", "in all")
    )
    for pair in one["pairs"]:
        for user, arm in pair.get("loss_db", {}).items():
            first = user == pair["users"][0]
            numbers = (arm["fiber"], arm["insertion"], arm["detector"], arm["total"])
            table.add_row(
                _names(pair) if first else "",
                pair["relay"] if first else "",
                user,
                *("∞" if loss is None else f"{loss:.2f}" for loss in numbers),
            )
    return table


def _keys(one: Result) -> "Table":
    wanted = any(pair["keys_per_hour_wanted"] is not None for pair in one["pairs"])
    costed = one["cost_per_hour_eur"] is not None
    headings = ["bit/s alone", "share", "bit/s", "keys/h"]
    headings += ["wanted", "has"] if wanted else []
    headings += ["EUR/Mbit"] if costed else []
    table = _table("Keys", ("pair", "relay"), headings)
    for pair in one["pairs"]:
        cells = [
            f"{pair['key_bits_per_s_alone']:.4g}",
            f"1/{round(1.0 / pair['share'])}" if pair["share"] else "none",
            f"{pair['key_bits_per_s']:.4g}",
            f"{pair['keys_per_hour']:.4g}",
        ]
        if wanted:
            cells += [_number(pair["keys_per_hour_wanted"], ".4g"), _met(pair)]
        if costed:
            cells.append(_number(pair["cost_per_mbit_eur"], ".3g"))
        table.add_row(_names(pair), pair["relay"] or "none", *cells)
    return table


def _margins(one: Result) -> "Table":
    headings = ("first key alone", "in turn", "loss left", "block over first key", "per pulse")
    table = _table("Times and margins", ("pair",), headings)
    for pair in one["pairs"]:
        if pair["relay"] is not None:
            table.add_row(
                _names(pair),
                _time(pair["first_key_s_alone"]),
                _time(pair["first_key_s"]),
                "none" if pair["margin_db"] is None else f"{pair['margin_db']:.1f} dB",
                _number(pair["margin_time_factor"], ".3g"),
                f"{pair['rate_per_pulse']:.3g}",
            )
    return table


def _settings(one: Result, *, by_pair: bool) -> "Table":
    numbers = ("x", "y", "z", "p_x", "p_y", "p_z")
    table = _table("Settings", ("user", "with") if by_pair else ("user",), numbers)
    seen = set()
    for pair in one["pairs"]:
        for user, source in pair.get("settings", {}).items():
            if not by_pair and user in seen:
                continue
            seen.add(user)
            (peer,) = (name for name in pair["users"] if name != user)
            table.add_row(
                *((user, peer) if by_pair else (user,)),
                *(f"{source[letter]['intensity']:.4f}" for letter in "xyz"),
                *(f"{source[letter]['probability']:.4f}" for letter in "xyz"),
            )
    return table


def _comparison(plans: list[Result]) -> "Table":
    table = _table(
        "Detectors compared", ("detectors",),
        ("bit/s of all pairs", "pairs with key", "demands met", "EUR/hour", "EUR/Mbit", "enough"),
    )  # fmt: skip
    for one in plans:
        met = [pair["met"] for pair in one["pairs"] if pair["met"] is not None]
        with_key = sum(pair["key_bits_per_s"] > 0.0 for pair in one["pairs"])
        table.add_row(
            one["detectors"],
            f"{one['key_bits_per_s']:.4g}",
            f"{with_key} of {len(one['pairs'])}",
            f"{sum(met)} of {len(met)}" if met else "",
            _number(one["cost_per_hour_eur"], ".3g"),
            _number(one["cost_per_mbit_eur"], ".3g"),
            "yes" if one["enough"] else "no",
        )
    return table


def _verdict(plan: Result) -> str:
    demands = any(pair["met"] is not None for pair in plan["plans"][0]["pairs"])
    what = "Every demand is met" if demands else "Every pair has a key"
    enough = [one["detectors"] for one in plan["plans"] if one["enough"]]
    if not enough:
        return "Some demand is not met." if demands else "Some pair has no key."
    if len(plan["plans"]) == 1:
        return f"{what}."
    cheapest = f" The cheapest: {plan['cheapest']}." if plan["cheapest"] else ""
    return f"{what} with {', '.join(enough)}.{cheapest}"


def _table(title: str, names: tuple[str, ...], numbers: "tuple[str, ...] | list[str]") -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False
    )
    for name in names:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _names(pair: Result) -> str:
    return " – ".join(pair["users"])


def _number(value: float | None, spec: str) -> str:
    return "" if value is None else format(value, spec)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _met(pair: Result) -> str:
    if pair["met"] is None:
        return ""
    return f"×{pair['demand_factor']:.3g}" + (" ✓" if pair["met"] else " ✗")
