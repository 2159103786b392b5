"""Sweeps of `mdiqkd keyrate --link`: a row for each value, each with an identity, resumable.

Points know nothing of each other, so that a row is the same whatever was computed before it.
"""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.cli._spread import Progress
from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from mdiqkd_net.params import Link
    from mdiqkd_net.planning.prediction import Result
    from mdiqkd_net.planning.task import Task

DEFAULT_SWEEP: Final = "length_km=0:300:10"
"""What `--plot` draws if no sweep is asked for."""

SWEPT: Final = (
    "length_km",
    "n_pulses",
    "eps_sec",
    "f_ec",
    "alice.length_km",
    "bob.length_km",
    "receiver.efficiency",
    "receiver.dark_probability",
    "receiver.misalignment",
    "receiver.mode_overlap",
)

_MAX_POINTS: Final = 10_000
_ON_A_POINT: Final = 1e-9


def run_sweep(args: argparse.Namespace, link: "Link", task: "Task") -> int:
    """Compute or read every row, print and draw them; 0 if any row has a key, else 1.

    Args:
        args: With `sweep`, `rows`, `plot`, `json`, `jobs` and `scheduler`.
        link: As in the file.
        task: What to find out at each point.
    """
    from mdiqkd_net.planning.prediction import with_times
    from mdiqkd_net.planning.task import succeeded

    key, values = parse_sweep(args.sweep or DEFAULT_SWEEP)
    points = [_moved(link, key, value) for value in values]
    if args.plot is not None:
        from mdiqkd_net.cli._plotting import check_plot

        check_plot(args.plot)
    rows: dict[int, Result] = {}
    n_printed = 0
    progress = Progress(len(values), "points", sys.stderr)
    with contextlib.closing(_found(args, points, task)) as found:
        for number, row in found:
            value = values[number]
            rows[number] = {"id": row["id"], "key": key, "value": value} | row
            if args.pulse_rate is not None:
                rows[number] = with_times(rows[number], args.pulse_rate)
            while args.json and n_printed in rows:  # in order, whatever order they come in
                sys.stdout.write(json.dumps(rows[n_printed], allow_nan=False) + "\n")
                sys.stdout.flush()
                n_printed += 1
            progress.done(f"{key} = {value:g}")
    ordered = [rows[number] for number in sorted(rows)]
    if args.plot is not None:
        from mdiqkd_net.cli._keyrate_plot import draw

        draw(args.plot, ordered)
    if not args.json:
        _print_rows(ordered, key)
    return 0 if any(map(succeeded, ordered)) else 1


def _found(
    args: argparse.Namespace, points: list["Link"], task: "Task"
) -> Generator[tuple[int, "Result"], None, None]:
    """Rows with their identity: those of `--rows` at once, the others as they are computed."""
    from mdiqkd_net.planning.task import answer, identity
    from mdiqkd_net.runtime.spread import spread

    known = _read_rows(args.rows) if args.rows is not None else {}
    ids = [identity(point, task) for point in points]
    for number, row_id in enumerate(ids):
        if row_id in known:
            yield number, known[row_id]
    missing = [number for number, row_id in enumerate(ids) if row_id not in known]
    calls = [(points[number], task) for number in missing]
    with contextlib.closing(
        spread(answer, calls, jobs=args.jobs, scheduler=args.scheduler)
    ) as answers:
        for call, computed in answers:
            row = {"id": ids[missing[call]]} | computed
            if args.rows is not None:
                with args.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, allow_nan=False) + "\n")
            yield missing[call], row


def parse_sweep(text: str) -> tuple[str, list[float]]:
    """Key and values of KEY=START:STOP:STEP; STEP xF multiplies by F; STOP is included.

    Raises:
        ConfigError: Saying what was found and what is allowed.
    """
    key, _, numbers = text.partition("=")
    if key not in SWEPT:
        raise ConfigError(f"--sweep: found key {key!r}; allowed: {', '.join(SWEPT)}")
    parts = numbers.split(":")
    geometric = len(parts) == 3 and parts[2].startswith("x")
    try:
        start, stop, step = (float(part.removeprefix("x")) for part in parts)
    except ValueError:
        start = math.nan
    if not (math.isfinite(start) and math.isfinite(stop) and math.isfinite(step)):
        raise ConfigError(f"--sweep: found {numbers!r}; allowed: START:STOP:STEP, three numbers")
    if geometric and not (step > 1.0 and 0.0 < start <= stop):
        raise ConfigError(
            f"--sweep: found {numbers!r}; allowed with a factor: 0 < START <= STOP, STEP above x1"
        )
    if not geometric and not (step > 0.0 and start <= stop):
        raise ConfigError(f"--sweep: found {numbers!r}; allowed: START <= STOP, STEP above 0")
    steps = math.log(stop / start) / math.log(step) if geometric else (stop - start) / step
    n_points = math.floor(steps + _ON_A_POINT) + 1
    if n_points > _MAX_POINTS:
        raise ConfigError(f"--sweep: found {n_points} points; allowed: at most {_MAX_POINTS}")
    if geometric:
        return key, [start * step**i for i in range(n_points)]
    return key, [start + step * i for i in range(n_points)]


def _moved(link: "Link", key: str, value: float) -> "Link":
    """The link with one number changed; `length_km` is both arms, split as in the file."""
    import msgspec

    from mdiqkd_net.params import Link

    raw = msgspec.to_builtins(link)
    if key == "length_km":
        alice, bob = link.alice.length_km, link.bob.length_km
        share = alice / (alice + bob) if alice + bob > 0.0 else 0.5
        raw["alice"]["length_km"] = value * share
        raw["bob"]["length_km"] = value * (1.0 - share)
    else:
        *table, name = key.split(".")
        place = raw[table[0]] if table else raw
        place[name] = round(value) if name == "n_pulses" else value
    try:
        return msgspec.convert(raw, Link)
    except msgspec.ValidationError as error:
        allowed = str(error).split(" - at ")[0].removeprefix("Expected ").replace("`", "")
        raise ConfigError(f"--sweep: {key}: found {value:g}; allowed: {allowed}") from None


def _read_rows(path: Path) -> dict[str, "Result"]:
    """Rows of an earlier run by identity; a line that was cut short at the end is dropped."""
    if not path.exists():
        return {}
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    rows = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            row = json.loads(line)
            rows[row["id"]] = row
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ConfigError(
                f"{path}:{number}: found no row of a sweep; allowed: JSON lines that --rows wrote"
            ) from None
    if len(whole) < len(raw):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return rows


def _print_rows(rows: Iterable["Result"], key: str) -> None:
    from rich.console import Console
    from rich.table import Table

    rows = list(rows)
    table = Table(caption=rows[0]["label"] or None)
    for heading in (
        key,
        "pulses",
        "key (bits)",
        "per pulse pair",
        "all gains exact",
        "infinite decoy",
    ):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            f"{row['value']:g}",
            f"{row['n_pulses']:.4g}",
            str(row["key_length_bits"]),
            f"{row['rate_per_pulse']:.3e}",
            f"{row['asymptotic_rate_per_pulse']:.3e}",
            f"{infinite_decoy(row):.3e}",
        )
    Console(file=sys.stdout, highlight=False).print(table)


def infinite_decoy(row: "Result") -> float:
    """The infinite-decoy curve: at its own best intensities where they were looked for."""
    best = row.get("infinite_decoy_limit_per_pulse")
    return float(row["infinite_decoy_rate_per_pulse"] if best is None else best)
