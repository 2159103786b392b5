"""Designs of the certificate in `mdiqkd keyrate`: written before a block, or judging one."""

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from mdiqkd_net.estimation.analysis import Analysis
    from mdiqkd_net.params import Link
    from mdiqkd_net.planning.prediction import Result

METHOD: Final = "certificate"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    group = parser.add_argument_group(f"with --method {METHOD}")
    group.add_argument(
        "--design", type=Path, metavar="FILE", help="with --counts: what was frozen before"
    )
    group.add_argument(
        "--digest", metavar="HEX", help="... its SHA-256 as it was stored before the block"
    )
    group.add_argument(
        "--write-design", type=Path, metavar="FILE", help="with --link: the design to freeze"
    )


def require_consistent(args: argparse.Namespace) -> None:
    """Return if these options make sense together.

    Raises:
        ConfigError: Naming the one that does not.
    """
    for option, value, source in (
        ("--design", args.design, "--counts"),
        ("--digest", args.digest, "--counts"),
        ("--write-design", args.write_design, "--link"),
    ):
        if value is None:
            continue
        if args.method != METHOD:
            raise ConfigError(
                f"{option}: found with --method {args.method}; allowed: with {METHOD}"
            )
        if (args.counts if source == "--counts" else args.link) is None:
            raise ConfigError(f"{option}: found without {source}; allowed: with it")
    if args.digest is not None and args.design is None:
        raise ConfigError("--digest: found alone; allowed: with --design")
    if args.digest is not None and not _DIGEST.fullmatch(args.digest.lower()):
        raise ConfigError(f"--digest: found {args.digest!r}; allowed: 64 hexadecimal digits")
    if args.write_design is not None and (args.sweep or args.plot):
        raise ConfigError("--write-design: found with a sweep; allowed: with one link")


def with_design(analysis: "Analysis", args: argparse.Namespace) -> "Analysis":
    """The analysis with the design and the digest that the options name.

    Raises:
        ConfigError: The file cannot be read, or is no design.
    """
    if args.design is None:
        return analysis
    import msgspec

    from mdiqkd_net.runtime.designs import read_design

    digest = None if args.digest is None else args.digest.lower()
    return msgspec.structs.replace(analysis, design=read_design(args.design), digest=digest)


def write(path: Path, link: "Link", result: "Result") -> None:
    """Write the design for the link and the settings of a result.

    Raises:
        ConfigError: No design can be made, or the file cannot be written.
    """
    import msgspec

    from mdiqkd_net.params import Source
    from mdiqkd_net.planning.prediction import design_of
    from mdiqkd_net.planning.task import at

    users = result.get("settings") or {"alice": link.alice.source, "bob": link.bob.source}
    alice, bob = (msgspec.convert(users[u], Source, from_attributes=True) for u in ("alice", "bob"))
    at_last = msgspec.structs.replace(at(link, alice, bob), n_pulses=result["n_pulses"])
    design = design_of(at_last)
    try:
        path.write_bytes(design.canonical())
    except OSError as error:
        raise ConfigError(f"--write-design: {path}: {error.strerror}") from None
    result["design_sha256"] = design.digest()
    result["design_file"] = str(path)


def print_design(console: "Console", result: "Result") -> None:
    """Say which design a result rests on, and loudly whether it is known to have been frozen."""
    digest = result.get("design_sha256")
    if digest is None:
        return
    console.print(f"Design, SHA-256: {digest}", soft_wrap=True)
    if "design_file" in result:
        console.print(
            f"Written to {result['design_file']}. Store the digest at both users before the block.",
            soft_wrap=True,
        )
    if "expected_counts" in result:
        return
    if result["digest_given"]:
        console.print("The digest that was stored before the block was given.", soft_wrap=True)
    else:
        console.print(
            "NO DIGEST WAS GIVEN: nothing says that this design was frozen before the block.",
            style="bold red",
            soft_wrap=True,
        )
