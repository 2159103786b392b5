"""Vectors: what the protocol makes of given bytes, as JSON files that any implementation can read.

`python -m mdiqkd_net.conformance.vectors` writes them anew from the code, the same on every run.
Their schema is `schema.json` beside them, and docs/reference/vectors.md tells what is in which
file. A decoder in tests/independent, which shares no code with this package, judges them all.
"""

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
NAMES: Final = (
    "frames_valid",
    "frames_invalid",
    "sequences",
    "bulk_arrays",
    "ids",
    "announcements",
    "gate",
    "tag",
    "verify_hash",
    "pa_toeplitz",
    "reconcile",
    "sessions",
)


def load(name: str) -> dict[str, Any]:
    """One file: its header and, under "cases", its cases."""
    loaded: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="ascii"))
    return loaded
