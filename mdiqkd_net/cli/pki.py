"""Make certificates and one-time pads for the nodes of a network; nothing is ever overwritten.

new-network makes everything for a network on one machine. For sites on different hosts, make the
authority with new-network, then each certificate with new-site and its own --host, and the pads of
each pair of users with new-pads. Each node gets authority.pem and its own files, and no others.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from mdiqkd_net.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON")
    site = argparse.ArgumentParser(add_help=False)
    site.add_argument(
        "--host",
        action="append",
        metavar="H",
        help="name or address under which the node is dialed; repeatable "
        "(default: localhost and 127.0.0.1)",
    )
    site.add_argument("--days", type=int, metavar="N", help="validity of node certificates (730)")
    actions = parser.add_subparsers(
        dest="action", required=True, metavar="new-network|new-site|new-pads|show"
    )
    network = actions.add_parser(
        "new-network", parents=[common, site], help="an authority, certificates and pads"
    )
    network.add_argument("directory", type=Path, metavar="DIR")
    network.add_argument("--node", action="append", default=[], metavar="ID", help="repeatable")
    network.add_argument(
        "--pair",
        action="append",
        default=[],
        metavar="A:B",
        help="users who share keys; repeatable",
    )
    network.add_argument("--pads", type=int, metavar="N", help="pads per direction (4096)")
    network.add_argument(
        "--authority-days", type=int, metavar="N", help="validity of the authority (3650)"
    )
    new_site = actions.add_parser(
        "new-site", parents=[common, site], help="one more certificate from the same authority"
    )
    new_site.add_argument("node", metavar="NAME")
    new_site.add_argument("--dir", dest="directory", type=Path, required=True, metavar="DIR")
    new_pads = actions.add_parser("new-pads", parents=[common], help="pads for a pair of users")
    new_pads.add_argument("a", metavar="A")
    new_pads.add_argument("b", metavar="B")
    new_pads.add_argument("--dir", dest="directory", type=Path, required=True, metavar="DIR")
    new_pads.add_argument("--count", type=int, metavar="N", help="pads per direction (4096)")
    show = actions.add_parser("show", parents=[common], help="what a directory holds")
    show.add_argument("directory", type=Path, metavar="DIR")


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say."""
    from mdiqkd_net.keys import pads, pki

    directory: Path = args.directory
    if args.action == "show":
        _show(directory, as_json=args.json)
        return 0
    if args.action == "new-network":
        made = _new_network(args)
    elif args.action == "new-site":
        pki.issue(
            directory,
            args.node,
            args.host or pki.LOCAL_HOSTS,
            validity_days=pki.NODE_DAYS if args.days is None else args.days,
        )
        made = _certificate_files(directory, args.node)
    else:
        count = pads.N_PADS if args.count is None else args.count
        made = list(pads.create_pads(directory, args.a, args.b, count))
    _report(made, as_json=args.json)
    return 0


def _new_network(args: argparse.Namespace) -> list[Path]:
    from mdiqkd_net.keys import pads, pki
    from mdiqkd_net.keys.files import refuse_existing

    directory: Path = args.directory
    pairs = [_pair(text, args.node) for text in args.pair]
    for what, names in (("--node", args.node), ("--pair", pairs)):
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"{what}: found {', '.join(twice)} more than once")
    # Everything that could be refused is checked before the first file is made.
    planned = [
        path for stem in (pki.AUTHORITY, *args.node) for path in _certificate_files(directory, stem)
    ]
    planned += [pads.pad_path(directory, *pair, owner) for pair in pairs for owner in pair]
    hosts = args.host or pki.LOCAL_HOSTS
    days = pki.NODE_DAYS if args.days is None else args.days
    n_pads = pads.N_PADS if args.pads is None else args.pads
    pki.check_issue(args.node, hosts, days)
    pads.check_count(n_pads)
    refuse_existing(planned)
    pki.create_authority(
        directory,
        validity_days=pki.AUTHORITY_DAYS if args.authority_days is None else args.authority_days,
    )
    for node in args.node:
        pki.issue(directory, node, hosts, validity_days=days)
    for pair in pairs:
        pads.create_pads(directory, *pair, n_pads)
    return planned


def _pair(text: str, nodes: Sequence[str]) -> tuple[str, str]:
    from mdiqkd_net.keys.identity import check_pair

    a, colon, b = text.partition(":")
    if not colon or ":" in b:
        raise ConfigError(f"--pair: found {text!r}; allowed: two users, as in alice:bob")
    pair = check_pair(a, b)
    for user in pair:
        if user not in nodes:
            allowed = ", ".join(nodes) or "none; name nodes with --node"
            raise ConfigError(f"--pair: found user {user!r}; allowed: {allowed}")
    return pair


def _certificate_files(directory: Path, stem: str) -> list[Path]:
    return [directory / f"{stem}.pem", directory / f"{stem}.key"]


def _report(made: list[Path], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps([str(path) for path in made], indent=2) + "\n")
        return
    for path in made:
        sys.stdout.write(f"{path}\n")


def _show(directory: Path, *, as_json: bool) -> None:
    from mdiqkd_net.keys import pads, pki

    certificates = pki.certificates(directory)
    pad_files = [pads.describe(path) for path in sorted(directory.glob("*.pads"))]
    if as_json:
        rows = {
            "certificates": [asdict(row) for row in certificates],
            "pads": [asdict(row) for row in pad_files],
        }
        sys.stdout.write(json.dumps(rows, indent=2, default=str) + "\n")
        return
    for row in certificates:
        sys.stdout.write(
            f"{row.path.name}  {row.node or 'authority'}  until {row.not_after_utc:%Y-%m-%d}  "
            f"spki-sha256 {row.spki_sha256}  {' '.join(row.hosts)}".rstrip()
            + "\n"
        )
        for problem in row.problems:
            sys.stderr.write(f"{row.path.name}: {problem}\n")
    for info in pad_files:
        sys.stdout.write(
            f"{info.path.name}  pool {info.pool_id}  {info.remaining_send} of {info.n_pads} left "
            f"to send, {info.remaining_receive} to receive\n"
        )
