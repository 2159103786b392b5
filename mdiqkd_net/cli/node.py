"""Run one node of a site until it is told to stop (SIGTERM or Ctrl-C).

Events go to stdout as JSON lines, the first when the node is ready; talk goes to stderr.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

ROLES: Final = ("charles", "relay", "alice", "bob", "endpoint")
RELAYS: Final = ("charles", "relay")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "role",
        choices=ROLES,
        help="charles (or relay) measures; alice, bob or endpoint make keys: all three the same",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the node's TOML configuration"
    )
    parser.add_argument(
        "--end-with-stdin",
        action="store_true",
        help="stop when standard input ends: the node does not outlive who started it",
    )


def run(args: argparse.Namespace) -> int:
    """Run the node; 0 when it was asked to stop."""
    from mdiqkd_net.runtime import config as configuration
    from mdiqkd_net.runtime.node import serve
    from mdiqkd_net.runtime.world import RealWorld
    from mdiqkd_net.telemetry.events import Telemetry

    if args.end_with_stdin:
        from mdiqkd_net.runtime.tether import end_with_stdin

        end_with_stdin()
    world = RealWorld.of(os.environ)
    base = args.config.parent
    if args.role in RELAYS:
        from mdiqkd_net.runtime.charles import Charles

        relay = configuration.read(args.config, configuration.CharlesConfig)
        telemetry = Telemetry(relay.node, sys.stdout)
        _warn(relay.relay)
        return serve(telemetry, Charles(relay, base, telemetry, world).run)
    from mdiqkd_net.runtime.endpoint import EndpointNode

    endpoint = configuration.read(args.config, configuration.EndpointConfig)
    telemetry = Telemetry(endpoint.node, sys.stdout)
    return serve(telemetry, EndpointNode(endpoint, base, telemetry, world).run)


def _warn(relay: str) -> None:
    from mdiqkd_net.byzantine import conduct_of

    conduct = conduct_of(relay)
    if conduct is not None:
        sys.stderr.write(f"THIS RELAY IS HOSTILE ({relay}, {conduct.case}): it {conduct.does}\n")
