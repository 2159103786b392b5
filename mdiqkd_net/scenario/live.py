"""What a run shows while it lasts, on stderr: a table on a terminal, else a line now and then."""

from typing import Final

import trio
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from mdiqkd_net.scenario import figures
from mdiqkd_net.scenario.config import RELAY, Scenario
from mdiqkd_net.scenario.progress import Board, PairProgress

FRAME_S: Final = 0.125
LINE_S: Final = 2.0
BAR_WIDTH: Final = 8

WIDE: Final = 98
"""Columns that the whole table needs; a narrower terminal does without the last ones."""
ROOMY: Final = 108
"""Columns from which the table may breathe."""


class LiveView:
    """Shows a board of `scenario` until it is cancelled.

    Args:
        scenario: What is run.
        console: Where to show it; a terminal gets a table, anything else plain lines.
        plain: Lines on a terminal, too.
    """

    def __init__(self, scenario: Scenario, console: Console, *, plain: bool = False) -> None:
        self._scenario = scenario
        self._console = console
        self._plain = plain or not console.is_terminal

    async def __call__(self, board: Board) -> None:
        """Show the board for as long as the task lives."""
        if self._plain:
            await self._lines(board)
        else:
            await self._table(board)

    async def _table(self, board: Board) -> None:
        spinner = Spinner("dots", style="cyan")
        # The view is drawn from this task, not from a thread of rich.
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                live.update(self.render(board, spinner), refresh=True)
                await trio.sleep(FRAME_S)

    async def _lines(self, board: Board) -> None:
        said: list[str] = []
        while True:
            lines = self.lines(board)
            for line in lines:
                if line not in said:
                    self._console.print(line, highlight=False, markup=False, soft_wrap=True)
            said = lines
            await trio.sleep(LINE_S)

    def lines(self, board: Board) -> list[str]:
        """One line per pair that is under way; or who is still missing."""
        if missing := _missing(board):
            return [f"starting: waiting for {', '.join(missing)}"]
        return [
            f"{pair.users[0]}-{pair.users[1]}: {_stage(pair)}, "
            f"light {100 * _fraction(pair):.0f} %, {figures.scaled(pair.announced, '')} events, "
            f"QBER {figures.percent(pair.qber_z)} / {figures.percent(pair.qber_x, 1)}, "
            f"{figures.grouped(pair.secret_bits)} secret bits"
            for pair in board.pairs.values()
            if pair.stage != "waiting"
        ]

    def render(self, board: Board, spinner: Spinner) -> Group:
        """One frame of the table."""
        headings = ["events/s", "QBER z / x", "secret bits", "× real", "e11 ≤", "per pulse"]
        gap = 2 if self._console.width >= ROOMY else 1
        if self._console.width < WIDE:
            del headings[4:]
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("pair", no_wrap=True, style="bold")
        table.add_column("stage", no_wrap=True, min_width=9)
        table.add_column("light", no_wrap=True)
        for heading in headings:
            table.add_column(heading, justify="right", no_wrap=True)
        for pair in board.pairs.values():
            table.add_row(*self._row(pair)[: 3 + len(headings)])
        missing = _missing(board)
        spinner.update(text=Text(f" waiting for {', '.join(missing)}" if missing else ""))
        title = Text.assemble(
            (f"{self._scenario.title}", "bold cyan"),
            (f"   {len(board.ready)} of {len(self._scenario.users) + 1} nodes up", "dim"),
        )
        return Group(title, table, spinner) if missing else Group(title, table)

    def _row(self, pair: PairProgress) -> list[Text | Table | str]:
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=1.0, completed=_fraction(pair), width=BAR_WIDTH),
            f"{100 * _fraction(pair):3.0f} %",
        )
        elapsed_s = _elapsed_s(pair)
        rate = pair.announced / elapsed_s if elapsed_s else None
        real = pair.pulses / self._scenario.pulse_rate_hz / elapsed_s if elapsed_s else None
        bits = pair.secret_bits
        return [
            f"{pair.users[0]} – {pair.users[1]}",
            Text(_stage(pair), style=_STYLES.get(pair.stage, "cyan")),
            bar,
            figures.scaled(rate, ""),
            f"{figures.percent(pair.qber_z)} / {figures.percent(pair.qber_x, 0)}",
            Text(figures.grouped(bits), style="bold green" if bits else "dim"),
            figures.fixed(real, 1),
            figures.percent(pair.e11_upper, 1),
            figures.scientific(bits / pair.pulses) if bits and pair.pulses else figures.DASH,
        ]


_STYLES: Final = {
    "waiting": "dim",
    "done": "bold green",
    "no key": "bold yellow",
    "failed": "bold red",
}


def _missing(board: Board) -> list[str]:
    nodes = {RELAY, *(user for users in board.pairs for user in users)}
    return sorted(nodes - board.ready)


def _stage(pair: PairProgress) -> str:
    if pair.blocks > 1 and pair.block is not None and pair.stage not in _STYLES:
        return f"{pair.stage} {len(pair.ended_blocks) + 1}/{pair.blocks}"
    return pair.stage


def _fraction(pair: PairProgress) -> float:
    return min(1.0, pair.pulses / pair.n_pulses)


def _elapsed_s(pair: PairProgress) -> float | None:
    """Wall time from the first light to its end, or to the latest news."""
    if pair.started_s is None:
        return None
    until = pair.light_ended_s if pair.light_ended_s is not None else pair.latest_s
    return None if until is None or until <= pair.started_s else until - pair.started_s
