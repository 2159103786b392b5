"""The epsilon ledger in a form whose sums a reader can check."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

_PARTS = {
    "statistics": "P_fail: statements about the channel",
    "secrecy": "eps_sec",
    "correctness": "eps_cor",
}


def bounds_report(declared: dict[str, dict[str, Any]]) -> str:
    """Which bounds of the sources the analysis allowed for, from the result's `source_bounds`."""
    return "\n".join(
        f"Source bounds in force, {user}: "
        + (", ".join(f"{k} {v}" for k, v in bounds.items()) or "none, an ideal source")
        + "."
        for user, bounds in declared.items()
    )


def ledger_report(ledger: dict[str, Any]) -> "RenderableType":
    """Tables of the shares with their sums and of the fixed cost, from `Ledger.as_dict`."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shares = Table(title="Where each epsilon goes")
    shares.add_column("what may fail", overflow="fold")
    for heading in ("times", "epsilon", "total"):
        shares.add_column(heading, justify="right", no_wrap=True)
    for part, title in _PARTS.items():
        entries = [share for share in ledger["shares"] if share["part"] == part]
        for share in entries:
            shares.add_row(
                share["what"], str(share["times"]), f"{share['eps']:.6g}", f"{share['total']:.6g}"
            )
        if entries:
            shares.add_row(f"sum, {title}", "", "", f"{ledger['sums'][part]:.6g}", style="bold")
            shares.add_section()
    costs = Table(title="Fixed cost in bits")
    costs.add_column("what it pays for", overflow="fold")
    costs.add_column("bits", justify="right", no_wrap=True)
    for what, bits in ledger["constant_bits"].items():
        costs.add_row(what, f"{bits:.3f}")
    costs.add_row("sum", f"{sum(ledger['constant_bits'].values()):.3f}", style="bold")
    notes = [f"Rule: {ledger['rule']}.", *(f"Not included: {n}." for n in ledger["not_included"])]
    tables = [shares, costs] if ledger["shares"] else []
    return Group(*tables, *(Text(note) for note in notes))
