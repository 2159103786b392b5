"""Coverage-guided fuzzing of one parser with atheris (`pip install atheris`, the extra `fuzz`).

`python tests/campaigns/guided.py PARSER [-max_total_time=60] [CORPUS]` takes the names of
tests/fuzzing/targets.py; other arguments are those of libFuzzer. It starts from good input and
from what the campaign makes of it, and stops at the first exception that is no refusal.
"""

import importlib
import sys
import tempfile
import types
from pathlib import Path
from random import Random

import atheris

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

SEEDS = 300
INSTRUMENTED = (
    "mdiqkd_net.wire.frames",
    "mdiqkd_net.wire.codec",
    "mdiqkd_net.structs",
    "mdiqkd_net.estimation.counts_file",
    "mdiqkd_net.estimation.certificate.check",
    "mdiqkd_net.estimation.certificate.design",
    "mdiqkd_net.keys.pad_layout",
    "mdiqkd_net.keys.pads",
    "mdiqkd_net.keys.pki",
    "mdiqkd_net.protocol.announcing",
    "mdiqkd_net.protocol.handshake",
    "mdiqkd_net.protocol.light",
    "mdiqkd_net.params",
    "mdiqkd_net.imperfections",
    "mdiqkd_net.runtime.config",
    "mdiqkd_net.scenario.config",
    "mdiqkd_net.scenario.events",
    "mdiqkd_net.planning.network",
    "mdiqkd_net.postprocessing.reconcile.cascade",
    "mdiqkd_net.postprocessing.reconcile.ldpc",
    "tomllib._parser",
)

from fuzzing.targets import TARGETS  # noqa: E402  # the path is set above


def functions(module):
    """Plain functions and methods that a module defines; kernels are none, numba reads them."""
    for item in list(vars(module).values()):
        members = vars(item).values() if isinstance(item, type) else [item]
        for member in members:
            inner = getattr(member, "__func__", getattr(member, "fget", member))
            if (
                isinstance(inner, types.FunctionType)
                and inner.__code__.co_filename == module.__file__
            ):
                yield inner


def main(argv):
    """Fuzz until libFuzzer ends the process."""
    if len(argv) < 2 or argv[1] not in TARGETS:
        sys.exit(f"found {argv[1:2]}; allowed: one of {', '.join(TARGETS)}")
    name, *rest = argv[1:]
    target = TARGETS[name]
    for module in map(importlib.import_module, INSTRUMENTED):
        for function in functions(module):
            atheris.instrument_func(function)
    rng = Random(1)
    with tempfile.TemporaryDirectory(prefix="mdiqkd-seeds-") as seeds:
        for number in range(SEEDS):
            (Path(seeds) / str(number)).write_bytes(target.make(rng))
        atheris.Setup([argv[0], "-max_len=4096", "-len_control=0", *rest, seeds], target.survives)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
