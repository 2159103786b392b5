"""Plan a network: what keys each pair would get, at which relay, in what time, for what money.

FILE is a scenario (one relay), or a network of several relays. Settings are optimised for each
pair; `--per-user` and `--equal` find settings that a transmitter can keep for all its peers, and
`--as-configured` takes those of the file. Exit code 0 if every demand is met (without demands: if
every pair has a key) with at least one of the sets of detectors, 1 if not.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mdiqkd_net.cli import _spread
from mdiqkd_net.errors import ConfigError

if TYPE_CHECKING:
    from mdiqkd_net.params import Source
    from mdiqkd_net.planning.network import Demand, Network, Pair
    from mdiqkd_net.planning.plan import PlanTask, SettingsName
    from mdiqkd_net.planning.prediction import Result
    from mdiqkd_net.planning.route import RouteTask

EXIT_NOT_ENOUGH: Final = 1

_LIMITS: Final = ("min_intensity", "max_intensity", "min_step")

Answer = TypeVar("Answer")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the verb."""
    parser.add_argument("file", type=Path, metavar="FILE", help="scenario or network, TOML")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="png, svg or pdf of the plan")
    parser.add_argument(
        "--detectors",
        default="file",
        metavar="NAME,...",
        help="sets to compare: file (default), spad, snspd, or tables [detectors.NAME]",
    )
    parser.add_argument(
        "--demand",
        type=Path,
        metavar="FILE",
        help="[[demand]] and [detectors.NAME] tables, TOML; they take precedence",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--as-configured", action="store_true", help="the settings of the file")
    which.add_argument("--per-user", action="store_true", help="one set of settings of each user")
    which.add_argument("--equal", action="store_true", help="one set of settings for all users")
    parser.add_argument(
        "--goal", metavar="NAME", help="of shared settings: worst pair (default), or sum"
    )
    limits = parser.add_argument_group("limits of optimised settings")
    limits.add_argument("--min-intensity", type=float, metavar="MU", help="not below (1e-4)")
    limits.add_argument("--max-intensity", type=float, metavar="MU", help="not above (1)")
    limits.add_argument("--min-step", type=float, metavar="MU", help="y above x by (1e-3)")
    analysis = parser.add_argument_group("analysis, as of mdiqkd keyrate")
    analysis.add_argument("--method", default="double_scan", metavar="NAME")
    analysis.add_argument("--tail", default="chernoff", metavar="NAME")
    analysis.add_argument("--accounting", default="variable", metavar="NAME")
    _spread.configure(parser.add_argument_group("where to compute"))


def run(args: argparse.Namespace) -> int:
    """Plan, print, and say by the exit code whether it is enough."""
    from mdiqkd_net.planning.plan import assemble

    _spread.require_consistent(args)
    task = _task(args)
    if args.plot is not None:
        from mdiqkd_net.cli._plotting import check_plot

        check_plot(args.plot)
    routes, results = _routes(args, task)
    plan = assemble(task, routes, results)
    if args.plot is not None:
        from mdiqkd_net.cli._plan_plot import draw

        draw(args.plot, plan, _curves(args, task, plan))
    if args.json:
        sys.stdout.write(json.dumps(plan, indent=2, allow_nan=False) + "\n")
    else:
        from mdiqkd_net.cli._plan_report import report

        report(plan)
    return 0 if plan["enough"] else EXIT_NOT_ENOUGH


def _task(args: argparse.Namespace) -> "PlanTask":
    from mdiqkd_net.estimation.analysis import Analysis
    from mdiqkd_net.estimation.settings_space import Limits
    from mdiqkd_net.planning.detectors import chosen
    from mdiqkd_net.planning.plan import PlanTask
    from mdiqkd_net.planning.shared import GOALS

    shared = args.per_user or args.equal
    if args.goal is not None and not shared:
        raise ConfigError("--goal: found alone; allowed: with --per-user or --equal")
    goals = [name for name in GOALS if name == (args.goal or "worst")]
    if not goals:
        raise ConfigError(f"--goal: found {args.goal!r}; allowed: {', '.join(GOALS)}")
    given = {name: getattr(args, name) for name in _LIMITS if getattr(args, name) is not None}
    if given and args.as_configured:
        option = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--{option}: found with --as-configured; allowed: without")
    network, pairs = _read(args.file)
    demand, tables = network.demand, dict(network.detectors)
    if args.demand is not None:
        more, own = _read_demand(args.demand, network)
        demand, tables = more or demand, tables | own
    return PlanTask(
        network=network,
        pairs=tuple(pairs),
        detectors=chosen(args.detectors.split(","), tables),
        demand=demand,
        analysis=Analysis(method=args.method, tail=args.tail, accounting=args.accounting),
        settings=_settings(args),
        goal=goals[0],
        limits=Limits(**given),
    )


def _settings(args: argparse.Namespace) -> "SettingsName":
    if args.as_configured:
        return "file"
    if args.per_user:
        return "user"
    return "equal" if args.equal else "pair"


def _read(path: Path) -> tuple["Network", "list[Pair]"]:
    """A network, and who shares keys in it: of either kind of file."""
    from mdiqkd_net.planning.network import Network
    from mdiqkd_net.runtime.config import read_text
    from mdiqkd_net.scenario.config import Scenario
    from mdiqkd_net.structs import parse_toml

    text = read_text(path)
    raw = parse_toml(text, dict[str, Any], str(path))
    if "relays" in raw:
        network = parse_toml(text, Network, str(path))
        return network, network.pairs
    scenario = parse_toml(text, Scenario, str(path))
    return scenario.network, scenario.pairs


def _read_demand(path: Path, network: "Network") -> "tuple[tuple[Demand, ...], dict[str, Any]]":
    from mdiqkd_net.planning.network import DemandFile, check_demand
    from mdiqkd_net.runtime.config import read

    tables = read(path, DemandFile)
    try:
        check_demand(tables.demand, network.users)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None
    return tables.demand, tables.detectors


def _routes(args: argparse.Namespace, task: "PlanTask") -> tuple["list[RouteTask]", "list[Result]"]:
    from mdiqkd_net.planning.plan import route_tasks, settled, shared_tasks
    from mdiqkd_net.planning.route import route
    from mdiqkd_net.planning.shared import shared_settings

    routes = route_tasks(task)
    searches = shared_tasks(task)
    found: list[dict[str, Source]] = _each(
        args, shared_settings, searches, "searches", lambda search: search.routes[0].choice
    )
    if found:
        settings = dict(zip(task.detectors, found, strict=True))
        routes = [
            one
            for choice in settings
            for one in settled((r for r in routes if r.choice == choice), settings[choice])
        ]
    results = _each(
        args, route, routes, "routes", lambda r: f"{r.users[0]} and {r.users[1]} at {r.relay}"
    )
    return routes, results


def _curves(args: argparse.Namespace, task: "PlanTask", plan: "Result") -> "list[Result]":
    """Points of the plot's curves, each with its `detectors`, `relay` and `loss_db`."""
    from mdiqkd_net.cli._plan_plot import losses
    from mdiqkd_net.planning.curves import curve_tasks
    from mdiqkd_net.planning.route import route

    tasks = curve_tasks(task, losses(plan))
    found = _each(
        args,
        route,
        tasks,
        "points of curves",
        lambda r: f"{r.choice} at {2.0 * r.link.alice.insertion_loss_db:g} dB",
    )
    return [
        {
            "detectors": r.choice,
            "relay": r.relay,
            "loss_db": 2.0 * r.link.alice.insertion_loss_db,
            "key_bits_per_s": point["key_bits_per_s"],
        }
        for r, point in zip(tasks, found, strict=True)
    ]


def _each(
    args: argparse.Namespace,
    function: Callable[[Any], Answer],
    tasks: Sequence[Any],
    what: str,
    name: Callable[[Any], str],
) -> list[Answer]:
    """Answers in the order of the tasks, with progress on stderr."""
    from mdiqkd_net.runtime.spread import spread

    progress = _spread.Progress(len(tasks), what, sys.stderr)
    answers: dict[int, Answer] = {}
    calls = [(task,) for task in tasks]
    with contextlib.closing(
        spread(function, calls, jobs=args.jobs, scheduler=args.scheduler)
    ) as done:
        for number, answer in done:
            answers[number] = answer
            progress.done(name(tasks[number]))
    return [answers[number] for number in range(len(tasks))]
