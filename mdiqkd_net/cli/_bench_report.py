"""Tables of what was measured of post-processing."""

import sys
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mdiqkd_net.laboratory.postprocessing.cases import FirstCall, Row
from mdiqkd_net.laboratory.postprocessing.chain import RATIO, Chain
from mdiqkd_net.laboratory.postprocessing.hashing import Amplification, Verification
from mdiqkd_net.laboratory.postprocessing.reconciling import Reconciliation


def report(rows: Sequence[Row], machine: Mapping[str, str]) -> None:
    """Print all of them, a table for each kind."""
    console = Console(file=sys.stdout, highlight=False)
    reconciliations = [row for row in rows if isinstance(row, Reconciliation)]
    chains = [row for row in rows if isinstance(row, Chain)]
    console.print(_reconciliation_table(reconciliations))
    console.print(_hashing_table(rows))
    console.print(_chain_table(chains))
    first = [row for row in rows if isinstance(row, FirstCall)]
    console.print(
        "Not counted: first calls, "
        + ", ".join(f"{row.stage} {row.cpu_s:.1f} s" for row in first)
        + "."
    )
    for row in rows:
        if isinstance(row, Reconciliation | Chain) and row.refusal:
            console.print(f"{row.scheme} at {_percent(row.qber)}: {row.refusal}", style="red")
    for name, value in machine.items():
        console.print(f"{name:7} {value}")


def _reconciliation_table(rows: Sequence[Reconciliation]) -> Table:
    table = _table(
        f"Reconciliation of {_size(rows[0].n_bits)} bits",
        ("scheme",),
        ("QBER", "both", "Alice", "Bob", "f", "rounds", "failed", "MB"),
    )
    for row in rows:
        table.add_row(
            row.scheme,
            _percent(row.qber),
            *_speeds(row),
            _f(row.f),
            f"{max(row.rounds, default=0)}",
            f"{row.failed_frames}/{row.n_frames}",
            _megabytes(row.peak_bytes),
        )
    return table


def _hashing_table(rows: Sequence[Row]) -> Table:
    table = _table("Hashing", ("stage", "tier"), ("bits", "ratio", "a user", "MB"))
    for row in rows:
        match row:
            case Verification():
                stage, tier, ratio = "verify", "", ""
            case Amplification():
                stage, tier, ratio = "amplify", row.tier, f"{row.ratio:g}"
            case _:
                continue
        table.add_row(
            stage,
            tier,
            _size(row.n_bits),
            ratio,
            _speed(row.n_bits, row.cpu_s),
            _megabytes(row.peak_bytes),
        )
    return table


def _chain_table(rows: Sequence[Chain]) -> Table:
    table = _table(
        f"Reconcile, verify, amplify to {RATIO:g} of {_size(rows[0].n_bits)} bits",
        ("scheme",),
        ("QBER", "both", "Alice", "Bob", "f", "rounds", "wrong", "MB"),
    )
    for row in rows:
        table.add_row(
            row.scheme,
            _percent(row.qber),
            *_speeds(row),
            _f(row.f),
            f"{row.n_rounds}",
            f"{row.n_wrong_groups}",
            _megabytes(row.peak_bytes),
        )
    return table


def _table(title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(
        title=f"{title} (Mbit/s)",
        box=SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for heading in names:
        table.add_column(heading, no_wrap=True)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _speeds(row: Reconciliation | Chain) -> tuple[str, str, str]:
    return (
        _speed(row.n_bits, row.both_cpu_s),
        _speed(row.n_bits, row.alice_cpu_s),
        _speed(row.n_bits, row.bob_cpu_s),
    )


def _speed(n_bits: int, seconds: float) -> str:
    if not seconds:
        return "-"
    mbit_s = n_bits / seconds / 1e6
    return f"{mbit_s:.0f}" if mbit_s >= 10.0 else f"{mbit_s:.1f}"


def _size(n_bits: int) -> str:
    return f"{n_bits:.2g}".replace("e+0", "e")


def _percent(qber: float) -> str:
    return f"{100.0 * qber:.3g} %"


def _f(f: float | None) -> str:
    return "-" if f is None else f"{f:.3f}"


def _megabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f}" if n_bytes else "-"
