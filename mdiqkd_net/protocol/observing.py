"""What is public of a block, collected for the monitors once it has ended."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mdiqkd_net.monitoring.public import Announced, End, PublicBlock
from mdiqkd_net.protocol.sifting import wrong_in_test

if TYPE_CHECKING:
    from mdiqkd_net.protocol.context import BlockContext

Settings = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def in_order(ctx: "BlockContext", ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> Settings:
    """Alice's settings and Bob's."""
    return (ours, theirs) if ctx.is_coordinator else (theirs, ours)


def public_block(ctx: "BlockContext", end: End) -> PublicBlock:
    """All that both users and the relay know of a block; before it is wiped.

    No setting of a pulse that was not announced is in it, and no bit of a z-z event.
    """
    ours = ctx.agreement.prepared_source
    theirs = ctx.peer_source or ours
    alice, bob = (ours, theirs) if ctx.is_coordinator else (theirs, ours)
    found = ctx.estimate
    return PublicBlock(
        users=ctx.users,
        block=ctx.block,
        end=end,
        n_pulses=ctx.ready.n_pulses,
        pulse_rate_hz=ctx.ready.pulse_rate_hz,
        bell_states=ctx.agreement.bell_states,
        intensities=(alice.intensities, bob.intensities),
        probabilities=(alice.probabilities, bob.probabilities),
        covered=np.array(ctx.log.progress, np.int64),
        announced=_announced(ctx),
        n_key=ctx.sifted.n["zz"] if ctx.sifted is not None else 0,
        m_key=ctx.errors.get("zz"),
        y11_lower=found.s11_lower if found is not None else None,
        e11_upper=found.e11_upper if found is not None else None,
    )


def _announced(ctx: "BlockContext") -> Announced | None:
    if ctx.settings is None or ctx.sifted is None:
        return None
    wrong = wrong_in_test(ctx.sifted, np.concatenate(ctx.peer_bits)) if ctx.errors else None
    return Announced(
        pulses=ctx.log.pulses(),
        outcomes=np.concatenate([np.empty(0, np.uint8), *ctx.outcomes]),
        settings=ctx.settings,
        test_category=ctx.sifted.test_category,
        test_outcome=ctx.sifted.test_outcome,
        test_wrong=wrong,
    )
