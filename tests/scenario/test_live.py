import io

import pytest
import trio
import trio.testing
from rich.console import Console
from rich.spinner import Spinner

from mdiqkd_net.scenario import events
from mdiqkd_net.scenario.live import LINE_S, LiveView
from mdiqkd_net.scenario.progress import Board

PAIR = ("alice", "bob")


def board_under_way(blocks=1):
    board = Board([PAIR], 1000, blocks)
    for node in ("alice", "bob", "charles"):
        board.take(events.Ready(node=node, t_s=0.0, role="endpoint", listen=""))
    charles = {"node": "charles", "users": PAIR, "n_pulses": 1000}
    board.take(events.PairStarted(t_s=1.0, **charles))
    board.take(events.LightProgress(t_s=3.0, pulses=500, announced=50, **charles))
    alice = {"node": "alice", "t_s": 3.0, "users": PAIR, "block": 1}
    board.take(events.BlockStage(stage="reconcile", **alice))
    board.take(events.BlockReconciled(qber_z=0.0123, **alice))
    return board


def frame(view, board, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(view.render(board, Spinner("dots")))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_shows_what_is_known(make_scenario, width):
    view = LiveView(make_scenario(), Console(file=io.StringIO(), width=width))
    text = frame(view, board_under_way(), width)
    for expected in ("A test", "alice – bob", "reconcile", "50 %", "1.23 %", "25 ", "0 ", "3 of 3"):
        assert expected in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_the_table_counts_blocks(make_scenario):
    view = LiveView(make_scenario(), Console(file=io.StringIO()))
    assert "reconcile 1/3" in frame(view, board_under_way(blocks=3))


def test_the_table_says_who_is_missing(make_scenario):
    view = LiveView(make_scenario(), Console(file=io.StringIO()))
    assert "waiting for alice, bob, charles" in frame(view, Board([PAIR], 1000, 1))


async def test_a_plain_line_appears_now_and_then_and_only_when_it_is_news(
    make_scenario, autojump_clock
):
    stream = io.StringIO()
    view = LiveView(make_scenario(), Console(file=stream, width=80))
    board = board_under_way()
    with trio.move_on_after(3.5 * LINE_S):
        await view(board)
    (line,) = stream.getvalue().splitlines()
    assert line == ("alice-bob: reconcile, light 50 %, 50 events, QBER 1.23 % / –, 0 secret bits")


async def test_a_terminal_gets_the_table(make_scenario, autojump_clock):
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    with trio.move_on_after(1.0):
        await LiveView(make_scenario(), console)(board_under_way())
    assert "alice – bob" in stream.getvalue()
