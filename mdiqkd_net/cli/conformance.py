"""Hold a node against the specification: numbered cases, over TCP, at any address.

The harness plays the other nodes of the network, so it needs certificates of the node's own
authority (`mdiqkd pki`). Each case is tied to clauses of docs/spec; what the node does and how it
closes a link that it refuses are judged apart, and a probe follows every case. Exit code 0 if no
case ended FAIL, UNCLEAN or INCONCLUSIVE, 1 otherwise. Do not point it at a node that makes keys.
"""

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from mdiqkd_net.conformance.cases import Case
    from mdiqkd_net.conformance.endpoint.harness import PairSettings
    from mdiqkd_net.conformance.harness import Harness
    from mdiqkd_net.conformance.report.summary import About
    from mdiqkd_net.conformance.runner import Result

EXIT_NOT_SHOWN: Final = 1
_MARKS: Final = {"FAIL": "red", "UNCLEAN": "red", "INCONCLUSIVE": "red", "PASS": "green"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--role", required=True, choices=("relay", "endpoint"), help="what the node is"
    )
    parser.add_argument("--connect", metavar="HOST:PORT", help="where the relay listens for users")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", help="where the endpoint dials its relay: be that relay"
    )
    parser.add_argument(
        "--light", metavar="HOST:PORT", help="where it listens for transmitters of simulated light"
    )
    parser.add_argument(
        "--identity",
        action="append",
        type=Path,
        default=[],
        metavar="NODE.pem",
        help="a node to play, with NODE.key and authority.pem beside it: two users, or one relay",
    )
    parser.add_argument(
        "--peer",
        type=Path,
        metavar="PEER.toml",
        help="configuration of the endpoint's peer: be that peer, and the fiber, too",
    )
    parser.add_argument(
        "--pulses",
        type=int,
        metavar="N",
        help="of sessions with light (300000; for an endpoint, what the pair is configured with)",
    )
    parser.add_argument("--list", action="store_true", help="print the cases and play none")
    parser.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only these, as CT-RL-F-04 or 'CT-RL-F-*'; repeatable",
    )
    parser.add_argument(
        "--level", choices=("L1", "L2", "L3"), default="L3", help="up to this layer (L3)"
    )
    parser.add_argument("--strict", action="store_true", help="a SHOULD counts as a MUST")
    parser.add_argument(
        "--time-scale", type=float, default=1.0, metavar="X", help="multiplies all deadlines (1)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of random inputs (1)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="write report.json, junit.xml and index.html there"
    )
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit's XML there")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def run(args: argparse.Namespace) -> int:
    """List or play the cases."""
    from mdiqkd_net.conformance.cases import select
    from mdiqkd_net.conformance.endpoint import ENDPOINT_CASES
    from mdiqkd_net.conformance.relay import RELAY_CASES

    registry: Iterable[Case[Any]] = RELAY_CASES if args.role == "relay" else ENDPOINT_CASES
    cases = select(registry, args.select, args.level)
    if args.list:
        _list(cases, as_json=args.json)
        return 0
    return _play(args, cases)


def _list(cases: "list[Case[Any]]", *, as_json: bool) -> None:
    if as_json:
        from mdiqkd_net.conformance.report.page import for_machines

        fields = ("id", "area", "clauses", "level", "layer", "text", "needs")
        rows = [{name: getattr(case, name) for name in fields} for case in cases]
        sys.stdout.write(for_machines(rows))
        return
    for case in cases:
        clauses = ", ".join(case.clauses)
        sys.stdout.write(f"{case.id}  {case.layer}  {case.level:6}  {case.text} (spec {clauses})\n")


def _play(args: argparse.Namespace, cases: "list[Case[Any]]") -> int:
    import trio

    from mdiqkd_net.conformance.runner import conforms, play

    about, harness = _prepare(args)
    tell = (lambda _: None) if args.json else _row

    async def all_of_them() -> "list[Result]":
        made = harness()
        return await play(made, cases, strict=args.strict, tell=tell)

    results = trio.run(all_of_them)
    _write(args, about, results)
    return 0 if conforms(results) else EXIT_NOT_SHOWN


def _prepare(args: argparse.Namespace) -> "tuple[About, Callable[[], Harness]]":
    from datetime import UTC, datetime

    from mdiqkd_net.conformance.report.summary import About

    if not args.time_scale > 0:
        raise ConfigError(f"--time-scale: found {args.time_scale:g}; allowed: above 0")
    if args.pulses is not None and args.pulses < 1:
        raise ConfigError(f"--pulses: found {args.pulses}; allowed: 1 or more")
    address, make = _relays_users(args) if args.role == "relay" else _endpoints_relay(args)
    about = About(
        role=args.role,
        address=address,
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        strict=args.strict,
        time_scale=args.time_scale,
        seed=args.seed,
    )
    return about, make


def _relays_users(args: argparse.Namespace) -> "tuple[str, Callable[[], Harness]]":
    from mdiqkd_net.conformance.deadlines import Deadlines
    from mdiqkd_net.conformance.identity import load
    from mdiqkd_net.conformance.relay.harness import N_PULSES, RelayHarness
    from mdiqkd_net.runtime.sockets import parse_address

    if args.connect is None:
        raise ConfigError("--connect: found none; allowed: HOST:PORT of the relay")
    if not 1 <= len(args.identity) <= 2:
        raise ConfigError(f"--identity: found {len(args.identity)}; allowed: one or two users")
    identities = [load(path) for path in args.identity]
    if len({who.node for who in identities}) < len(identities):
        raise ConfigError(f"--identity: found {identities[0].node} twice; allowed: two users")
    return args.connect, partial(
        RelayHarness,
        parse_address(args.connect, "--connect"),
        identities,
        args.identity[0],
        light=None if args.light is None else parse_address(args.light, "--light"),
        n_pulses=args.pulses or N_PULSES,
        deadlines=Deadlines(args.time_scale),
        seed=args.seed,
    )


def _endpoints_relay(args: argparse.Namespace) -> "tuple[str, Callable[[], Harness]]":
    from mdiqkd_net.conformance.deadlines import Deadlines
    from mdiqkd_net.conformance.endpoint.harness import EndpointHarness
    from mdiqkd_net.conformance.identity import load

    if args.listen is None:
        raise ConfigError("--listen: found none; allowed: HOST:PORT that the endpoint dials")
    if len(args.identity) != 1:
        raise ConfigError(f"--identity: found {len(args.identity)}; allowed: one, the relay")
    return args.listen, partial(
        EndpointHarness,
        args.listen,
        load(args.identity[0]),
        pair=None if args.peer is None else _played(args.peer, args.pulses),
        deadlines=Deadlines(args.time_scale),
        seed=args.seed,
    )


def _played(path: Path, n_pulses: int | None) -> "PairSettings":
    """The peer of a configuration, which the harness is to be."""
    from mdiqkd_net.conformance.endpoint.harness import PairSettings
    from mdiqkd_net.conformance.identity import load
    from mdiqkd_net.protocol.agreement import Agreement
    from mdiqkd_net.protocol.endpoint import PairPlan
    from mdiqkd_net.runtime.config import EndpointConfig, read
    from mdiqkd_net.runtime.designs import analysis_of

    config, base = read(path, EndpointConfig), path.parent
    if len(config.peers) != 1:
        found = ", ".join(peer.node for peer in config.peers)
        raise ConfigError(f"{path}: peers: found {found or 'none'}; allowed: the endpoint alone")
    (node,) = config.peers
    # The lesser id listens, and the greater one dials.
    address = node.address if node.node < config.node else config.listen
    if address is None:
        raise ConfigError(f"{path}: peers.{node.node}: key `address` is missing")
    if n_pulses is not None and n_pulses > node.n_pulses:
        raise ConfigError(
            f"--pulses: found {n_pulses}; allowed: up to {node.n_pulses}, as in {path}"
        )
    plan = PairPlan(
        node=config.node,
        peer=node.node,
        n_pulses=node.n_pulses,
        blocks=0,
        agreement=Agreement(
            source=config.source,
            security=config.security,
            bell_states=config.bell_states,
            reconciler=config.reconciler,
            analysis=analysis_of(config, node, base),
        ),
        qber_hint=config.qber_hint,
    )
    identity = load(base / config.tls.certificate, base / config.tls.authority)
    return PairSettings(
        identity, address, config.light, plan, base / node.pads, n_pulses or node.n_pulses
    )


def _row(result: "Result") -> None:
    from rich.console import Console
    from rich.text import Text

    name = result.verdict.value
    line = Text(f"{result.case.id}  ")
    line.append(f"{name:<12}", style=f"bold {_MARKS.get(name, 'yellow')}")
    line.append(f"  {result.case.text}")
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True)
    console.print(line)
    if result.found and name != "PASS":
        console.print(Text(f"            {result.found}", style="dim"))


def _write(args: argparse.Namespace, about: "About", results: "list[Result]") -> None:
    from mdiqkd_net.conformance.report.junit import junit
    from mdiqkd_net.conformance.report.page import for_machines, page
    from mdiqkd_net.conformance.report.summary import as_data, counts

    data = as_data(about, results)
    if args.json:
        sys.stdout.write(for_machines(data))
    else:
        tally = ", ".join(f"{n} {name}" for name, n in counts(results).items())
        sys.stdout.write(f"{len(results)} cases: {tally}\n")
    if args.junit is not None:
        args.junit.write_text(junit(about, results), encoding="utf-8")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "report.json").write_text(for_machines(data), encoding="utf-8")
        (args.out / "junit.xml").write_text(junit(about, results), encoding="utf-8")
        (args.out / "index.html").write_text(page(about, results), encoding="utf-8")
        sys.stderr.write(f"{args.out / 'index.html'}\n")
