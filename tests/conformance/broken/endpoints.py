"""Endpoints with one defect each, made from ours; and the cases that must find it."""

from conformance.broken.relays import Defect, Gapped, lax_reader

from mdiqkd_net.protocol.handshake import Expected
from mdiqkd_net.runtime import link
from mdiqkd_net.wire.codec import decode


def ids(prefix, *numbers):
    return frozenset(f"CT-EP-{prefix}-{number:02}" for number in numbers)


real_welcome, real_greet = link.welcome, link.greet


def any_role(frame, certified, expected):
    role = getattr(decode(frame), "role", expected.role)
    return real_welcome(frame, certified, Expected(role, expected.nodes))


def one_nonce(node, role, entropy, sequencer):
    return real_greet(node, role, bytes, sequencer)


DEFECTS = {
    "accepts a gap in SEQ": Defect(((link, "Sequencer", Gapped),), ids("F", 11, 14)),
    "reads bodies of any length": Defect(
        ((link, "FrameReader", lax_reader(lambda _, *rest: (0, *rest))),), ids("F", 6, 7, 10)
    ),
    "takes anybody for its relay": Defect(((link, "welcome", any_role),), ids("H", 5)),
    "makes its nonce but once": Defect(((link, "greet", one_nonce),), ids("H", 2)),
}
