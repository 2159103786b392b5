"""Write all vectors anew: `python -m mdiqkd_net.conformance.vectors [DIRECTORY]`."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mdiqkd_net.conformance.vectors import FOLDER, NAMES
from mdiqkd_net.conformance.vectors._announcing import announcements
from mdiqkd_net.conformance.vectors._arrays import bulk_arrays, sequences
from mdiqkd_net.conformance.vectors._cases import Cases
from mdiqkd_net.conformance.vectors._frames import invalid, valid
from mdiqkd_net.conformance.vectors._keys import pa_toeplitz, reconcile
from mdiqkd_net.conformance.vectors._names import ids
from mdiqkd_net.conformance.vectors._proofs import gate, tag, verify_hash
from mdiqkd_net.conformance.vectors._sessions import sessions

GENERATORS: Final[tuple[Callable[[], Cases], ...]] = (
    valid,
    invalid,
    sequences,
    bulk_arrays,
    ids,
    announcements,
    gate,
    tag,
    verify_hash,
    pa_toeplitz,
    reconcile,
    sessions,
)


def generate() -> dict[str, str]:
    """The text of every file, by its name without suffix; the same on every run."""
    made = [generator() for generator in GENERATORS]
    texts = {cases.name: cases.text() for cases in made}
    if tuple(texts) != NAMES:
        raise ValueError(f"found the files {', '.join(texts)}; allowed: {', '.join(NAMES)}")
    return texts


def main(argv: list[str]) -> int:
    """Write the files; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mdiqkd_net.conformance.vectors")
    parser.add_argument("directory", nargs="?", type=Path, default=FOLDER)
    directory: Path = parser.parse_args(argv).directory
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in generate().items():
        (directory / f"{name}.json").write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
