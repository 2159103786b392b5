"""Run a scenario from files to report: real processes, throw-away secrets, nothing left behind."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from mdiqkd_net.scenario.report import Report

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.scenario.config import Scenario
from mdiqkd_net.scenario.network import Network
from mdiqkd_net.scenario.processes import (
    NODE_COMMAND,
    SIGNALS,
    Patience,
    Supervisor,
    View,
)
from mdiqkd_net.scenario.progress import Board


def run(
    scenario: Scenario,
    *,
    command_s: float,
    view: View,
    keep: Path | None = None,
    command: Sequence[str] = NODE_COMMAND,
    patience: Patience | None = None,
) -> "Report":
    """Start the nodes of a scenario, follow them to the last key, and report.

    Args:
        scenario: What to run.
        command_s: When the command began, by `time.monotonic`.
        view: Shows the board while nodes run.
        keep: A directory for configurations, logs and stores; without it they go away.
        command: How a node is started; role and configuration follow.
        patience: How long nodes may take.

    Raises:
        ConfigError: `keep` is in use.
        NodeError, RemoteProtocolError: A node failed.
        StoppedError: A signal came.
        KeyStoreError: A store cannot be read.
    """
    return trio.run(
        partial(
            _run,
            scenario,
            command_s=command_s,
            view=view,
            keep=keep,
            command=command,
            patience=patience,
        )
    )


async def _run(
    scenario: Scenario,
    *,
    command_s: float,
    view: View,
    keep: Path | None,
    command: Sequence[str],
    patience: Patience | None,
) -> "Report":
    # Signals are caught before the first file exists, so that none is ever left behind.
    with trio.open_signal_receiver(*SIGNALS) as signals, _directory(keep) as directory:
        board = Board(scenario.pairs, scenario.n_pulses, scenario.blocks)
        with Network(scenario, directory) as network:
            supervisor = Supervisor(network.nodes, board, command=command, patience=patience)
            await supervisor.run(signals, network.close, view)
        # Imported late: the analysis takes a while, and the first key should not wait for it.
        from mdiqkd_net.scenario import report as reports
        from mdiqkd_net.scenario import stores

        compared = stores.compare(
            {pair: (network.store(pair[0]), network.store(pair[1])) for pair in scenario.pairs}
        )
        return reports.build(
            scenario,
            board,
            compared,
            command_s=command_s,
            wall_s=time.monotonic() - command_s,
            stubborn=supervisor.stubborn,
        )


@contextlib.contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    """A directory of the run: `keep`, or a temporary one that goes away."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="mdiqkd-") as temporary:
            yield Path(temporary)
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        in_use = any(keep.iterdir())
    except OSError as error:
        raise ConfigError(f"--keep: {keep}: {error.strerror}") from None
    if in_use:
        raise ConfigError(f"--keep: found files in {keep}; allowed: a new or an empty directory")
    yield keep.resolve()
