"""A file of outcomes, a line of JSON each, from which a later run goes on.

A run that is killed loses at most the seeds that it was at. What failed is run again: it may have
been mended. Nothing in the file says by which code a seed was run; after a change begin a new one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.simulation.seeds import Outcome, faults_of


class Results:
    """One file of outcomes.

    Args:
        path: The file; made with the first outcome.

    Raises:
        ConfigError: It cannot be read, or a line is no outcome.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[int, Outcome] = {}
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
            if torn := lines.pop():  # the run was killed while it wrote
                with path.open("r+b") as file:
                    file.truncate(path.stat().st_size - len(torn))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        for number, line in enumerate(lines, 1):
            try:
                outcome = msgspec.json.decode(line, type=Outcome)
            except msgspec.MsgspecError as error:
                raise ConfigError(f"{path}:{number}: no outcome of a seed: {error}") from None
            if not outcome.violations:
                self._held[outcome.seed] = outcome

    def held(self, seeds: Sequence[int], allowed: Sequence[str]) -> list[Outcome]:
        """Those of the seeds that held, if these faults were allowed."""
        known = [self._held[seed] for seed in seeds if seed in self._held]
        return [outcome for outcome in known if outcome.faults == faults_of(outcome.seed, allowed)]

    def append(self, outcome: Outcome) -> None:
        """Add an outcome; the history of one that held is left out.

        Raises:
            ConfigError: The file cannot be written.
        """
        kept = outcome if outcome.violations else replace(outcome, history=())
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(kept) + b"\n")
        except OSError as error:
            raise ConfigError(f"{self._path}: {error.strerror}") from None
