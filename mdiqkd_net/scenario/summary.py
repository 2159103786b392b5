"""The report as people read it: at most 92 columns, the key first, then why one may believe it."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mdiqkd_net import byzantine
from mdiqkd_net.scenario import figures
from mdiqkd_net.scenario.report import GainRow, PairReport, Report

WIDTH: Final = 92

ALARM_SIGMA: Final = 5.0
"""Chance takes a category this far from the closed form once in two million."""


def show(report: Report, console: Console) -> None:
    """Print a report."""
    parts: list[RenderableType] = [_heading(report)]
    if len(report.pairs) == 1:
        (pair,) = report.pairs
        parts += [_verdict(pair), *_incidents(pair), _facts(report, pair)]
        parts.append(_gains(pair, report.published))
    else:
        parts += [_pairs(report), *(_verdict(pair) for pair in report.pairs if not _good(pair))]
        parts += [part for pair in report.pairs for part in _incidents(pair)]
    parts.append(_times(report))
    console.print(Group(*parts), highlight=False)


def _good(pair: PairReport) -> bool:
    return pair.secret_bits > 0 and pair.keys_match and pair.failure is None


def _heading(report: Report) -> RenderableType:
    row = Table.grid(expand=True)
    row.add_column(justify="left", ratio=1)
    row.add_column(justify="right")
    row.add_row(Text(report.title, style="bold"), Text(report.origin, style="black on yellow"))
    conduct = byzantine.conduct_of(report.relay)
    if conduct is not None:
        row.add_row(Text(f"the relay is hostile ({report.relay}): it {conduct.does}", "bold red"))
    label = [Text(f" {report.method}: {report.label}", style="yellow")] if report.label else []
    return Group(Text(), row, *label, Rule(style="dim"))


def _verdict(pair: PairReport) -> RenderableType:
    names = f"{pair.users[0]} – {pair.users[1]}"
    if _good(pair):
        text = Text.assemble(
            (f" {names}  ", "bold"),
            (f"{pair.secret_bits:,} secret bits", "bold green"),
            (f", {pair.n_keys:,} keys, identical in both stores", "green"),
        )
    elif pair.stores_differ:
        text = Text.assemble(
            (f" {names}  ", "bold"),
            ("the users do not hold the same keys", "bold red"),
            (f"; they report {pair.secret_bits:,} secret bits", "red"),
        )
    elif pair.failure is not None:
        text = Text.assemble((f" {names}  ", "bold"), ("failed: ", "bold red"), pair.failure)
    elif pair.secret_bits > 0:
        text = Text.assemble(
            (f" {names}  ", "bold"),
            (f"{pair.secret_bits:,} secret bits, too few for one key of the store", "bold yellow"),
        )
    else:
        text = Text.assemble(
            (f" {names}  ", "bold"),
            ("no key: ", "bold yellow"),
            pair.reason or "unknown",
            (f"\n {' ' * len(names)}  {_outlook(pair)}", "dim"),
        )
    return Padding(text, (0, 0, 1, 0))


def _incidents(pair: PairReport) -> list[RenderableType]:
    """Blocks without a key among several, and alarms; for each user and cause one line."""
    lost = {} if len(pair.blocks) == 1 else Counter(b.reason for b in pair.blocks if b.reason)
    alarms = Counter((a.monitor, a.user) for a in pair.alarms)
    reasons = {(a.monitor, a.user): a.reason for a in reversed(pair.alarms)}
    lines = [
        Text.assemble((f"no key in {_blocks(n)}: ", "yellow"), why) for why, n in lost.items()
    ] + [
        Text.assemble((f"{monitor} at {user}, {_blocks(n)}: ", "red"), reasons[monitor, user])
        for (monitor, user), n in alarms.items()
    ]
    if not lines:
        return []
    names = f"{pair.users[0]} – {pair.users[1]}"
    return [Padding(Group(Text(names, style="bold"), *lines), (0, 0, 1, 1))]


def _blocks(n: int) -> str:
    return "1 block" if n == 1 else f"{n} blocks"


def _outlook(pair: PairReport) -> str:
    if pair.pulses_needed is None:
        return "By the closed form, no number of pulses would give one."
    return (
        f"By the closed form, blocks from {figures.scientific(pair.pulses_needed)} pulses give one."
    )


def _facts(report: Report, pair: PairReport) -> RenderableType:
    light_s = pair.pulses / report.pulse_rate_hz
    rate = pair.secret_bits / light_s if light_s else None
    expected_bits = pair.secret_bits_expected
    rows = [
        (
            "pulse pairs",
            figures.grouped(pair.pulses),
            f"{figures.seconds(light_s)} of light at {figures.scaled(report.pulse_rate_hz, 'Hz')}",
        ),
        (
            "secret key rate",
            f"{figures.scientific(pair.bits_per_pulse)} per pulse",
            f"{figures.scaled(rate, 'bit/s')} of light; predicted {expected_bits:,} bits",
        ),
        (
            "QBER z / x",
            f"{figures.percent(pair.qber_z)} / {figures.percent(pair.qber_x)}",
            f"closed form {figures.percent(pair.qber_z_expected)} / "
            f"{figures.percent(pair.qber_x_expected)}",
        ),
        (
            "single photons",
            f"s11 ≥ {figures.scientific(pair.s11_lower, 4)}",
            "yield of single-photon pairs, and their phase",
        ),
        (
            "",
            f"e11 ≤ {figures.percent(pair.e11_upper)}",
            "errors, at the worst point the counts allow",
        ),
        (
            "error correction",
            f"{figures.grouped(pair.leak_ec_bits)} bits",
            f"disclosed, f = {figures.fixed(pair.f_ec)}",
        ),
        (
            "classical traffic",
            f"{figures.fixed(pair.bytes_per_secret_bit, 2)} B per secret bit",
            f"{figures.scaled(pair.bytes_relay, 'B')} with the relay, "
            f"{figures.scaled(pair.bytes_peer, 'B')} between users",
        ),
        (
            "authentication",
            f"{figures.grouped(pair.tag_failures)} failures",
            "one-time Poly1305 tags over every block",
        ),
    ]
    table = Table.grid(padding=(0, 3))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(style="dim")
    for row in rows:
        table.add_row(*row)
    return Padding(table, (0, 0, 1, 1))


def _gains(pair: PairReport, published: str | None) -> RenderableType:
    rows = [row for row in pair.gains if row.n > 0 or row.n_expected > 0]
    notes = []
    if pair.left_out:
        notes.append(Text(f"closed form without: {', '.join(pair.left_out)}", style="dim"))
    if published is not None:
        notes.append(Text(f"published: {published}", style="dim"))
        return Padding(Group(_gains_beside(rows), *notes), (0, 0, 1, 1))
    table = _plain_table()
    for side in (0, 1):
        table.add_column(
            "    gain" if side else "gain", style="bold", no_wrap=True, justify="right"
        )
        for heading in ("simulated", "closed form", "ratio", "σ"):
            table.add_column(heading, justify="right", no_wrap=True)
    half = (len(rows) + 1) // 2
    for i in range(half):
        right = _gain_cells(rows[half + i]) if half + i < len(rows) else [""] * 5
        table.add_row(*_gain_cells(rows[i]), *right)
    return Padding(Group(table, *notes), (0, 0, 1, 1))


def _gain_cells(row: GainRow) -> list[RenderableType]:
    return [
        row.category,
        figures.scientific(row.gain, 4),
        figures.scientific(row.gain_expected, 4),
        figures.fixed(row.ratio),
        _deviation(row.deviation),
    ]


def _gains_beside(rows: Sequence[GainRow]) -> Table:
    table = _plain_table()
    table.add_column("gain", style="bold", no_wrap=True)
    for heading in (
        "simulated",
        "closed form",
        "ratio",
        "σ",
        "published",
        "ratio",
        "errors",
        "pub.",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            *_gain_cells(row),
            figures.scientific(row.gain_published, 4),
            figures.fixed(row.ratio_published),
            figures.percent(row.error_rate),
            figures.percent(row.error_rate_published),
        )
    return table


def _plain_table() -> Table:
    return Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim underline")


def _deviation(sigma: float | None) -> Text:
    if sigma is None:
        return Text(figures.DASH, style="dim")
    text = f"{sigma:+.1f}" if abs(sigma) < 99.95 else ("> 99" if sigma > 0 else "< -99")
    return Text(text, style="bold red" if abs(sigma) > ALARM_SIGMA else "dim")


def _pairs(report: Report) -> RenderableType:
    table = _plain_table()
    table.add_column("pair", style="bold")
    for heading in ("secret bits", "per pulse", "QBER z", "QBER x", "e11 ≤", "f", "B/bit"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("stores", no_wrap=True)
    for pair in report.pairs:
        good = _good(pair)
        table.add_row(
            f"{pair.users[0]} – {pair.users[1]}",
            Text(figures.grouped(pair.secret_bits), style="bold green" if good else "bold yellow"),
            figures.scientific(pair.bits_per_pulse),
            figures.percent(pair.qber_z),
            figures.percent(pair.qber_x, 1),
            figures.percent(pair.e11_upper, 1),
            figures.fixed(pair.f_ec, 2),
            figures.fixed(pair.bytes_per_secret_bit, 2),
            _stores(pair),
        )
    each = report.pairs[0].pulses
    light = figures.seconds(each / report.pulse_rate_hz)
    rate = figures.scaled(report.pulse_rate_hz, "Hz")
    total = (
        f"{report.secret_bits:,} secret bits in all; {each:,} pulse pairs each, {light} at {rate}"
    )
    return Padding(Group(table, Text(), Text(total, style="dim")), (0, 0, 1, 1))


def _stores(pair: PairReport) -> Text:
    if pair.stores_differ:
        return Text("DIFFER", style="bold red")
    return Text("identical", style="green") if pair.n_keys else Text("empty", style="yellow")


def _times(report: Report) -> RenderableType:
    real = report.pulses_per_s / report.pulse_rate_hz if report.pulses_per_s else None
    parts = [
        f"first key after {figures.seconds(report.first_key_s)}",
        f"whole run {figures.seconds(report.wall_s)}",
        f"{figures.scaled(report.pulses_per_s, 'pulses/s')}"
        + (f" ({real:,.1f} × real time)" if real else ""),
    ]
    return Text(" " + "  ·  ".join(parts), style="bold")
