"""Key rate against loss for the receivers of a plan, between two like arms."""

from collections.abc import Sequence

import msgspec

from mdiqkd_net.params import Link, ReceiverParams
from mdiqkd_net.planning.plan import PlanTask
from mdiqkd_net.planning.route import RouteTask


def curve_tasks(task: PlanTask, losses_db: Sequence[float]) -> list[RouteTask]:
    """A route for every set of detectors, receiver of the network and loss of both arms together.

    Receivers that are alike share a curve; `relay` is the first that has it. Settings are the best
    of each point, or those of the first pair's Alice where the plan is for those of the file.
    """
    network = task.network
    receivers: dict[ReceiverParams, str] = {}
    for relay, receiver in network.relays.items():
        receivers.setdefault(receiver, relay)
    first = next(pair for pair in task.pairs if network.relays_of(pair))
    example = network.link(first, network.relays_of(first)[0])
    return [
        RouteTask(
            users=first,
            relay=relay,
            link=_between(example, receiver, loss_db),
            choice=choice,
            detectors=detectors,
            pulse_rate_hz=network.pulse_rate_hz,
            analysis=task.analysis,
            optimize=task.settings != "file",
            limits=task.limits,
        )
        for choice, detectors in task.detectors.items()
        for receiver, relay in receivers.items()
        for loss_db in losses_db
    ]


def _between(example: Link, receiver: ReceiverParams, loss_db: float) -> Link:
    arm = msgspec.structs.replace(example.alice, length_km=0.0, insertion_loss_db=0.5 * loss_db)
    return msgspec.structs.replace(example, alice=arm, bob=arm, receiver=receiver)
