"""The files of a simulated node over its lives.

They are real files, so that the real store, the real pad file and SQLite itself do the work. A
crash copies them as they are at that moment, and the next life begins on the copy; what the dying
process still does to its own files, in `finally` clauses say, happens to nobody. A power failure in
the middle of a step is modelled where a step changes exactly one file: bytes that it appended are
cut off at a random place, and of the sectors that it wrote over each is old or new. Steps that
change several files are found as they are after them.

What is written counts as durable once the call that writes has returned. So this finds a step that
happens too late, but not an `fsync` that is missing.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Final

Contents = Mapping[str, bytes]

SECTOR_BYTES: Final = 512
"""What a disk writes whole or not at all."""
PADS: Final = ".pads"


class Disk:
    """One node's directory. `path` is another one after every crash."""

    def __init__(self, root: Path, rng: Random) -> None:
        self._root = root
        self._rng = rng
        self._n_crashes = 0
        self.path.mkdir(parents=True)

    @property
    def path(self) -> Path:
        """The files of this life."""
        return self._root / str(self._n_crashes)

    def contents(self) -> Contents:
        """All files as they are, by name."""
        files = sorted(self.path.iterdir())
        # SQLite makes the index of its log anew after a crash.
        return {file.name: file.read_bytes() for file in files if file.suffix != ".db-shm"}

    def crash(self, before: Contents | None = None) -> str:
        """Begin another life with the files of this one; says what was lost.

        Args:
            before: The files before the step in whose middle the crash comes, if it does.
        """
        after = self.contents()
        torn = None if before is None else self._torn(before, after)
        self._n_crashes += 1
        self.path.mkdir()
        for name, data in after.items():
            file = self.path / name
            file.touch(mode=0o600)
            file.write_bytes(torn[1] if torn is not None and torn[0] == name else data)
        if torn is None or torn[1] == after[torn[0]]:
            return ""
        name, found, whole = *torn, after[torn[0]]
        if len(found) == len(whole):
            return f"{name} in part"
        return f"{name} cut to {len(found)} of {len(whole)}"

    def put_back(self, older: Contents, *, pads: bool, store: bool) -> None:
        """Begin another life with some files as they were: those of pads, of the store, or both."""
        self.crash()
        for file in sorted(self.path.iterdir()):
            if pads if file.suffix == PADS else store:
                file.unlink()
        for name, data in older.items():
            if pads if name.endswith(PADS) else store:
                file = self.path / name
                file.touch(mode=0o600)
                file.write_bytes(data)

    def bury(self) -> None:
        """Remove the files of earlier lives."""
        for number in range(self._n_crashes):
            shutil.rmtree(self._root / str(number), ignore_errors=True)

    def _torn(self, before: Contents, after: Contents) -> tuple[str, bytes] | None:
        changed = [name for name, data in after.items() if before.get(name) != data]
        if len(changed) != 1:
            return None
        name = changed[0]
        old, new = before.get(name, b""), after[name]
        if len(new) == len(old):
            sectors = range(0, len(new), SECTOR_BYTES)
            sides = [(old, new)[self._rng.random() < 0.5] for _ in sectors]
            parts = zip(sides, sectors, strict=True)
            return name, b"".join(side[i : i + SECTOR_BYTES] for side, i in parts)
        if len(new) < len(old) or not new.startswith(old):
            return None
        return name, new[: self._rng.randint(len(old), len(new) - 1)]
