"""Files of measured counts: the three-line CSV of a laboratory's key-rate program, or TOML.

The CSV holds numbers only. Lines 1 and 2 are Alice's and Bob's mu_x, mu_y, mu_z, p_x, p_y, p_z.
Line 3 is a failure index, the number of pulses, and then XX correct, XX wrong, YY, XO, OX, YO, OY,
OO, ZZ correct, ZZ wrong, where the first letter is Alice's, and YY and the vacuum classes are
totals. The failure index belongs to the program that the layout comes from; it is not used here.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from mdiqkd_net.blocks import CATEGORIES, Counts
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.decoy import NEEDED, NEEDED_ERRORS
from mdiqkd_net.params import MAX_PULSES, Security, Source
from mdiqkd_net.structs import parse_toml

_SOURCE_COLUMNS: Final = ("mu_x", "mu_y", "mu_z", "p_x", "p_y", "p_z")
_COUNT_COLUMNS: Final = (
    "failure index",
    "pulses",
    "XX correct",
    "XX wrong",
    "YY",
    "XO",
    "OX",
    "YO",
    "OY",
    "OO",
    "ZZ correct",
    "ZZ wrong",
)
_ROWS: Final = (
    ("Alice's settings", _SOURCE_COLUMNS),
    ("Bob's settings", _SOURCE_COLUMNS),
    ("counts", _COUNT_COLUMNS),
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Everything that the analysis of a block needs."""

    counts: Counts
    alice: Source
    bob: Source
    security: Security


class _CountsToml(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The TOML layout; a category is Alice's setting, then Bob's."""

    n_pulses: Annotated[int, Meta(ge=1, le=MAX_PULSES)]
    alice: Source
    bob: Source
    counts: dict[str, float]
    errors: dict[str, float]
    eps_sec: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-10
    eps_cor: Annotated[float, Meta(gt=0.0, lt=1.0)] = 1e-15
    f_ec: Annotated[float, Meta(ge=1.0, le=10.0)] = 1.16


def parse_counts(text: str, origin: str) -> Measurement:
    """Read a file of counts; TOML if it has an equals sign, else CSV.

    Args:
        text: What the file holds.
        origin: Its name, for messages.

    Raises:
        ConfigError: Naming the file, the line or key, what was found and what is allowed.
    """
    return _parse_toml_counts(text, origin) if "=" in text else _parse_csv_counts(text, origin)


def _parse_toml_counts(text: str, origin: str) -> Measurement:
    read = parse_toml(text, _CountsToml, origin)
    for table, values, needed in (
        ("counts", read.counts, NEEDED),
        ("errors", read.errors, NEEDED_ERRORS),
    ):
        for category in values:
            if category not in CATEGORIES:
                raise ConfigError(
                    f"{origin}: {table}: found unknown category `{category}`; "
                    f"allowed: {', '.join(CATEGORIES)}"
                )
        absent = [category for category in needed if category not in values]
        if absent:
            found = ", ".join(values) or "nothing"
            raise ConfigError(
                f"{origin}: {table}: found {found}; {', '.join(absent)} must be there, too"
            )
    n, m = (
        {c: _count(value, f"{table}.{c}", origin) for c, value in values.items()}
        for table, values in (("counts", read.counts), ("errors", read.errors))
    )
    counts = Counts(n_pulses=read.n_pulses, n=n, m=m)
    _refuse_contradictions(counts, origin)
    security = Security(eps_sec=read.eps_sec, eps_cor=read.eps_cor, f_ec=read.f_ec)
    return Measurement(counts, read.alice, read.bob, security)


def _parse_csv_counts(text: str, origin: str) -> Measurement:
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) != len(_ROWS):
        raise ConfigError(
            f"{origin}: found {len(lines)} lines; allowed: 3 lines of numbers "
            f"({', '.join(name for name, _ in _ROWS)})"
        )
    rows = [
        _numbers(line, columns, name, f"{origin}:{number}")
        for (number, line), (name, columns) in zip(lines, _ROWS, strict=True)
    ]
    alice, bob = (
        _source(row, f"{origin}:{number}")
        for row, (number, _) in zip(rows[:2], lines[:2], strict=True)
    )
    where = f"{origin}:{lines[2][0]}"
    n_pulses, xx_right, xx_wrong, yy, xo, ox, yo, oy, oo, zz_right, zz_wrong = (
        _count(value, name, where)
        for value, name in zip(rows[2][1:], _COUNT_COLUMNS[1:], strict=True)
    )
    if not 1 <= n_pulses <= MAX_PULSES:
        raise ConfigError(f"{where}: pulses: found {n_pulses:.12g}; allowed: 1 to {MAX_PULSES}")
    counts = Counts(
        n_pulses=n_pulses,
        n={
            "oo": oo,
            "ox": ox,
            "oy": oy,
            "xo": xo,
            "xx": xx_right + xx_wrong,
            "yo": yo,
            "yy": yy,
            "zz": zz_right + zz_wrong,
        },
        m={"xx": xx_wrong, "zz": zz_wrong},
    )
    _refuse_contradictions(counts, where)
    return Measurement(counts, alice, bob, Security())


def _numbers(line: str, columns: tuple[str, ...], name: str, where: str) -> list[float]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != len(columns):
        raise ConfigError(
            f"{where}: {name}: found {len(fields)} fields; "
            f"allowed: {len(columns)} ({', '.join(columns)})"
        )
    values = []
    for column, field in zip(columns, fields, strict=True):
        try:
            value = float(field)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"{where}: {column}: found {field!r}; allowed: a finite number")
        values.append(value)
    return values


def _source(row: list[float], where: str) -> Source:
    settings = {
        letter: {"intensity": row[i], "probability": row[i + 3]} for i, letter in enumerate("xyz")
    }
    try:
        return msgspec.convert(settings, Source)
    except msgspec.ValidationError as error:
        found = ", ".join(
            f"{column} {value:g}" for column, value in zip(_SOURCE_COLUMNS, row, strict=True)
        )
        raise ConfigError(f"{where}: found {found}; {error}") from None


def _count(value: float, column: str, where: str) -> int:
    if value < 0.0 or not value.is_integer():
        raise ConfigError(
            f"{where}: {column}: found {value:.12g}; allowed: a whole number, 0 or more"
        )
    return int(value)


def _refuse_contradictions(counts: Counts, where: str) -> None:
    for category, errors in counts.m.items():
        events = counts.n.get(category, 0)
        if errors > events:
            raise ConfigError(
                f"{where}: {category}: found {errors} errors; allowed: at most its {events} events"
            )
    total = sum(counts.n.values())
    if total > counts.n_pulses:
        raise ConfigError(
            f"{where}: found {total} events; allowed: at most the {counts.n_pulses} pulses sent"
        )
