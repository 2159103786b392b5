"""What `mdiqkd keyrate --link` does beyond one prediction: optimise, ask for bits, sweep, plot.

The key of every row is the estimate's own: the search only proposes settings. It always climbs on
the double scan, with the chosen tails and accounting; another method then judges what it found.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.cli._keyrate_sweep import Result, duration, run_sweep, succeeded
from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mdiqkd_net.estimation.optimize import KeyBits
    from mdiqkd_net.estimation.settings_space import Limits
    from mdiqkd_net.params import Link, Source, UserLink

Predict = Callable[["Link"], Result]
"""The result of `keyrate --link` for a link whose settings are fixed."""

SEARCHED: Final = "double_scan"
"""The method whose key the search climbs on, whichever judges the settings in the end."""

_TUNED: Final = ("equal", "min_intensity", "max_intensity", "min_step")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group("with --link")
    group.add_argument(
        "--optimize", action="store_true", help="find the settings of both users; start at the file"
    )
    group.add_argument("--equal", action="store_true", help="... the same for both")
    group.add_argument("--min-intensity", type=float, metavar="MU", help="... not below (1e-4)")
    group.add_argument("--max-intensity", type=float, metavar="MU", help="... not above (1)")
    group.add_argument("--min-step", type=float, metavar="MU", help="... y above x by (1e-3)")
    group.add_argument(
        "--bits", type=int, metavar="N", help="make the block as long as N bits of key take"
    )
    group.add_argument(
        "--pulse-rate", type=float, default=1e9, metavar="HZ", help="for times (1e9)"
    )
    group.add_argument(
        "--sweep",
        metavar="KEY=START:STOP:STEP",
        help="a row for each value, e.g. length_km=0:300:10 or n_pulses=1e9:1e13:x10",
    )
    group.add_argument(
        "--rows", type=Path, metavar="FILE", help="JSON lines; rows in it are not computed again"
    )
    group.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf of the sweep")


def asked(args: argparse.Namespace) -> bool:
    """Whether any of these options is in use.

    Raises:
        ConfigError: If one is that makes no sense with the others.
    """
    used = [n for n in ("optimize", *_TUNED, "bits", "sweep", "rows", "plot") if _is_set(args, n)]
    if used and args.link is None:
        raise ConfigError(f"{_option(used[0])}: found with --counts; allowed: with --link")
    for name in _TUNED:
        if name in used and not args.optimize:
            raise ConfigError(f"{_option(name)}: found alone; allowed: with --optimize")
    if args.rows is not None and not (args.sweep or args.plot):
        raise ConfigError("--rows: found alone; allowed: with --sweep or --plot")
    if args.bits is not None and args.bits < 1:
        raise ConfigError(f"--bits: found {args.bits}; allowed: 1 or more")
    if not (0.0 < args.pulse_rate < math.inf):
        raise ConfigError(f"--pulse-rate: found {args.pulse_rate}; allowed: above 0, finite")
    return bool(used)


def run(
    args: argparse.Namespace,
    link: "Link",
    predict: Predict,
    report: Callable[[Result], None],
    how: Mapping[str, str],
) -> int:
    """Answer, and return the exit code: 0 if there is a key (enough of it, for `--bits`) anywhere.

    Args:
        args: With the options of `configure` and `json`.
        link: As in the file, security overridden.
        predict: What to say of a link at fixed settings.
        report: How to print that for people.
        how: Keywords of `engine.estimate` for method, tail and accounting.
    """
    if args.sweep or args.plot:
        task = {
            "limits": [getattr(args, name) for name in _TUNED],
            "optimize": args.optimize,
            "bits": args.bits,
            "pulse_rate_hz": args.pulse_rate if args.bits is not None else None,
            "how": dict(how),
        }
        return run_sweep(args, link, lambda point: _answer(args, point, predict, how), task)
    result = _answer(args, link, predict, how)
    if args.json:
        sys.stdout.write(json.dumps(result, indent=2, allow_nan=False) + "\n")
    else:
        report(result)
    return 0 if succeeded(result) else 1


def key_bits(link: "Link", how: Mapping[str, str]) -> "KeyBits":
    """What settings are worth on this link, as the optimiser wants to know it."""
    import msgspec

    from mdiqkd_net.estimation.decoy import Tallies
    from mdiqkd_net.estimation.engine import estimate
    from mdiqkd_net.estimation.optimize import smooth_key_bits
    from mdiqkd_net.physics import expected

    security = link.security
    gains: dict[object, tuple[dict[str, float], dict[str, float]]] = {}

    def bits(alice: "Source", bob: "Source", n_pulses: float) -> float:
        # Half of the search moves probabilities alone, which leaves the gains as they are.
        key = (alice.intensities, bob.intensities)
        if key not in gains:
            tried = msgspec.structs.replace(
                link, alice=_with(link.alice, alice), bob=_with(link.bob, bob)
            )
            gains[key] = expected.gains(tried), expected.error_gains(tried)
        gain, error_gain = gains[key]
        p_alice, p_bob = alice.probabilities, bob.probabilities
        pairs = {c: n_pulses * p_alice[i // 4] * p_bob[i % 4] for i, c in enumerate(gain)}
        tallies = Tallies(
            n_pulses=n_pulses,
            n={c: pairs[c] * gain[c] for c in gain},
            m={c: pairs[c] * error_gain[c] for c in gain},
        )
        found = estimate(tallies, alice, bob, security, **how)  # type: ignore[arg-type]
        return smooth_key_bits(found, tallies, security)

    return bits


def print_found(console: "Console", result: Result) -> None:
    """Print what the options found, if any of them was in use."""
    if "settings" in result:
        console.print(_settings_table(result))
        stops = result["at_limits"]
        console.print("Stopped by limits: " + "; ".join(stops) if stops else "No limit touched.")
    if "bits_wanted" in result:
        console.print(_block_line(result))


def _settings_table(result: Result) -> "Table":
    from rich.table import Table

    table = Table(title="Settings found")
    for heading in ("", "intensity", "probability"):
        table.add_column(heading, justify="left" if not heading else "right")
    for user, settings in result["settings"].items():
        for letter, setting in settings.items():
            table.add_row(
                f"{user} {letter}",
                f"{setting['intensity']:.5g}",
                f"{setting['probability']:.5g}",
            )
    return table


def _block_line(result: Result) -> str:
    from mdiqkd_net.params import MAX_PULSES

    wanted = result["bits_wanted"]
    if result["pulses_needed"] is None:
        return f"No block of up to {MAX_PULSES:.0e} pulses gives {wanted} bits."
    return (
        f"{wanted} bits take {result['pulses_needed']:.4g} pulses, "
        f"{duration(result['seconds_needed'])} at {result['pulse_rate_hz']:g} Hz."
    )


def _answer(
    args: argparse.Namespace, link: "Link", predict: Predict, how: Mapping[str, str]
) -> Result:
    import msgspec

    from mdiqkd_net.estimation.optimize import (
        optimize_settings,
        pulses_at_settings,
        pulses_for_bits,
    )

    started = time.perf_counter()
    extra: Result = {}
    limits = _limits(args, link)
    alice, bob = link.alice.source, link.bob.source
    # The search does not round; two bits more than asked for are enough after rounding, too.
    wanted = None if args.bits is None else args.bits + 2
    needed: float | None = None
    if args.optimize:
        worth = key_bits(link, {**how, "method": SEARCHED})
        light = link.alice.transmittance, link.bob.transmittance
        imbalance = light[0] / light[1] if min(light) > 0.0 else 1.0
        found = None
        if wanted is not None:
            found = pulses_for_bits(worth, wanted, limits, start=(alice, bob), imbalance=imbalance)
            needed = None if found is None else found.n_pulses
        if found is None:
            found = optimize_settings(
                worth, link.n_pulses, limits, start=(alice, bob), imbalance=imbalance
            )
        alice, bob = found.alice, found.bob
        extra = {
            "settings": {"alice": _plain(alice), "bob": _plain(bob)},
            "at_limits": list(found.at_limits),
            "infinite_decoy_limit_per_pulse": max(0.0, _infinite_decoy_limit(link, limits)),
        }
    if wanted is not None and not (args.optimize and how["method"] == SEARCHED):
        needed = pulses_at_settings(key_bits(link, how), alice, bob, wanted)
    n_pulses = link.n_pulses if needed is None else int(needed)
    result = predict(
        msgspec.structs.replace(
            link, n_pulses=n_pulses, alice=_with(link.alice, alice), bob=_with(link.bob, bob)
        )
    )
    if args.bits is not None:
        extra |= {
            "bits_wanted": args.bits,
            "pulses_needed": None if needed is None else n_pulses,
            "seconds_needed": None if needed is None else n_pulses / args.pulse_rate,
            "pulse_rate_hz": args.pulse_rate,
        }
    if args.optimize:
        extra["seconds"] = time.perf_counter() - started
    return result | extra


def _limits(args: argparse.Namespace, link: "Link") -> "Limits":
    """Limits as given; both users alike also where their arms are."""
    from mdiqkd_net.estimation.settings_space import Limits

    names = ("min_intensity", "max_intensity", "min_step")
    given = {n: float(getattr(args, n)) for n in names if getattr(args, n) is not None}
    alike = link.alice.transmittance == link.bob.transmittance
    return Limits(**given, equal=bool(args.equal) or alike)


def _infinite_decoy_limit(link: "Link", limits: "Limits") -> float:
    """Greatest infinite-decoy rate at z intensities of its own, by golden section in turns."""
    import msgspec

    from mdiqkd_net.params import Setting
    from mdiqkd_net.physics import expected

    def rate(z_alice: float, z_bob: float) -> float:
        users = [
            msgspec.structs.replace(user, z=Setting(math.exp(z), user.z.probability))
            for user, z in ((link.alice, z_alice), (link.bob, z_bob))
        ]
        return expected.infinite_decoy_rate(
            msgspec.structs.replace(link, alice=users[0], bob=users[1])
        )

    low, high = math.log(max(0.01, limits.min_intensity)), math.log(limits.max_intensity)
    if limits.equal:
        z = _golden(lambda t: rate(t, t), low, high)
        return rate(z, z)
    z_alice = z_bob = math.log(min(0.6, limits.max_intensity))
    for _ in range(3):
        z_alice = _golden(partial(rate, z_bob=z_bob), low, high)
        z_bob = _golden(partial(rate, z_alice), low, high)
    return rate(z_alice, z_bob)


def _golden(height: Callable[[float], float], low: float, high: float) -> float:
    ratio = 0.5 * (math.sqrt(5.0) - 1.0)
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = height(left), height(right)
    while high - low > 0.01:
        if at_left >= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = height(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = height(right)
    return 0.5 * (low + high)


def _with(user: "UserLink", source: "Source") -> "UserLink":
    import msgspec

    return msgspec.structs.replace(user, x=source.x, y=source.y, z=source.z)


def _plain(source: "Source") -> Result:
    import msgspec

    plain: Result = msgspec.to_builtins(source)
    return plain


def _is_set(args: argparse.Namespace, name: str) -> bool:
    value = getattr(args, name)
    return value is not None and value is not False


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
