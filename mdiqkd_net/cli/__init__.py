"""The `mdiqkd` command: one module per verb, imported only when the verb is called.

A verb module has `configure(parser)` and `run(args) -> int`. Results go to stdout, talk to stderr.
Exit codes: 0 done, 1 no key, 2 usage or configuration, 3 protocol or authentication, 4 device.
"""

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from mdiqkd_net import __version__
from mdiqkd_net.errors import MdiqkdError

VERBS: Final = {
    "run": "run a scenario: real node processes, a live view, a report",
    "node": "run one node of a site: charles, or an endpoint",
    "keyrate": "finite-key analysis of measured counts, or prediction for a link",
    "plan": "plan a network: rates, times, margins, detectors, costs, demands",
    "physics": "check the simulated light against closed forms, or time it",
    "simulate": "run whole networks from seeds, with faults, and check what must be true",
    "bench": "time post-processing on this machine: reconcile, verify, amplify",
    "conformance": "hold a node against the specification, case by case, over TCP",
    "keys": "look at a node's key store, or take keys from it",
    "pki": "make certificates and one-time pads for the nodes of a network",
}

EXIT_USAGE: Final = 2
EXIT_DEVICE: Final = 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help"):
        _print_overview()
        return 0 if args else EXIT_USAGE
    if args[0] in ("-V", "--version"):
        sys.stdout.write(f"mdiqkd {__version__}\n")
        return 0
    verb = args[0]
    if verb not in VERBS:
        allowed = ", ".join(VERBS)
        sys.stderr.write(f"mdiqkd: found verb {verb!r}; allowed: {allowed}\n")
        return EXIT_USAGE
    module = import_module(f"mdiqkd_net.cli.{verb}")
    parser = argparse.ArgumentParser(prog=f"mdiqkd {verb}", description=module.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    module.configure(parser)
    try:
        parsed = parser.parse_args(args[1:])
    except SystemExit as leave:  # argparse exits by itself; `main` returns
        return int(leave.code or 0)
    return _guarded(verb, module.run, parsed)


def _guarded(verb: str, run: object, parsed: argparse.Namespace) -> int:
    assert callable(run)  # noqa: S101  # a verb module without `run` is a bug of ours
    try:
        code = int(run(parsed))
        sys.stdout.flush()
    except MdiqkdError as error:
        sys.stderr.write(f"mdiqkd {verb}: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"mdiqkd {verb}: interrupted\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        # The reader of our output has gone; leave quietly, as other tools do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"mdiqkd {verb}: {place}{error.strerror or error}\n")
        return EXIT_DEVICE if error.errno in (errno.ENOSPC, errno.EIO) else EXIT_USAGE
    return code


def _print_overview() -> None:
    rows = "\n".join(f"  {verb:<12} {text}" for verb, text in VERBS.items())
    sys.stdout.write(
        "usage: mdiqkd VERB ...\n\n"
        "Measurement-device-independent quantum key distribution, from light to key.\n\n"
        f"{rows}\n\n"
        "mdiqkd VERB --help tells more; mdiqkd --version prints the version.\n"
    )


def entry() -> None:
    """Console script."""
    sys.exit(main())
