"""The look of all plots of the command line, and whether one can be drawn at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES: Final = (".png", ".svg", ".pdf")

INK: Final = "#2b2f36"
BLUE: Final = "#0b5fa5"
ORANGE: Final = "#d9822b"
GRAY: Final = "#8a8f98"
COLORS: Final = (BLUE, ORANGE, "#3c8f5a", "#9a4d9e", GRAY)
"""Of what stands side by side, in order."""


def check_plot(path: Path) -> None:
    """Return if the plot can be drawn; to be called before an hour of computing, not after.

    Raises:
        ConfigError: Unknown kind of file, or no matplotlib.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--plot: found {path.name!r}; allowed: a name in {', '.join(SUFFIXES)}")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--plot: found no matplotlib; it comes with the extra `plot`: "
            "pip install 'mdiqkd-net[plot]'"
        ) from None


@contextmanager
def figure(path: Path, width: float, height: float) -> "Iterator[Figure]":
    """A figure in the look of the house, saved on leaving; width and height in inches."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"font.size": 10.5, "svg.hashsalt": "mdiqkd", "axes.edgecolor": INK}):
        sheet = Figure(figsize=(width, height), layout="constrained")
        yield sheet
        sheet.savefig(path, dpi=160)
