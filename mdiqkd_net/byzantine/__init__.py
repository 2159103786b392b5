"""Hostile relays by name: what each does, what the users find, and what it cannot do.

The names stand in `relay = "byzantine:NAME"` of a scenario or of a relay's configuration. Those
that twist the light are `physics.attacks`; the others twist words (`lists`, `order`, `frames`).
Ids are those of the table in docs/explanation/hostile-relay.md, which is made from this one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mdiqkd_net.byzantine import frames, lists, order
from mdiqkd_net.byzantine.behaviour import Behaviour, Extent

Outcome = Literal["violation", "abort", "rate"]
"""The relay's link is refused; the block is aborted; only the rate suffers."""

Make = Callable[[Extent, float, Ed25519PrivateKey, np.random.Generator], Behaviour]

PREFIX: Final = "byzantine:"
HONEST: Final = "honest"


@dataclass(frozen=True, slots=True)
class Conduct:
    """One way to be hostile.

    Attributes:
        case: Its id, BZ-01 to BZ-25.
        does: What the relay does.
        found: What the users find.
        outcome: What it comes to; at worst, where it depends on the share.
        make: Makes the behaviour.
        test: Holds real users against it, in tests/byzantine/test_outcomes.py.
        monitors: That show it, to a user with honest blocks before, or after a few blocks.
        attack: On the light, in `physics.attacks`; the words stay honest.
        share: Of the events touched, unless the configuration says another; None: not by share.
        code: With which the users refuse or abort; None if they do neither.
    """

    case: str
    does: str
    found: str
    outcome: Outcome
    make: Make = Behaviour
    attack: str | None = None
    share: float | None = None
    code: int | None = None
    test: str = field(kw_only=True)
    monitors: tuple[str, ...] = ()

    def behaviour(
        self, extent: Extent, key: Ed25519PrivateKey, rng: np.random.Generator
    ) -> Behaviour:
        """One that is ready to lie."""
        share = extent.share if extent.share is not None else self.share
        return self.make(extent, 1.0 if share is None else share, key, rng)


_ALL_OF_LIGHT: Final = ("MON-01", "MON-02", "MON-03", "MON-05", "MON-07")

BEHAVIOURS: Final[Mapping[str, Conduct]] = MappingProxyType(
    {
        "equivocate": Conduct(
            "BZ-01",
            "tells the second user another Bell state in some events",
            "the gate fails at the user that checks first; nothing was revealed",
            "abort",
            lists.Equivocate,
            share=0.01,
            code=0x0502,
            test="test_two_stories_end_the_block_before_anything_is_revealed",
            monitors=("MON-09",),
        ),
        "equivocate_pulses": Conduct(
            "BZ-01",
            "does not tell the second user of some events",
            "the gate fails at the user that checks first; nothing was revealed",
            "abort",
            lists.EquivocatePulses,
            share=0.01,
            code=0x0502,
            test="test_two_stories_end_the_block_before_anything_is_revealed",
            monitors=("MON-09",),
        ),
        "too_many": Conduct(
            "BZ-02",
            "announces more events than there were pulses",
            "gaps that do not fit into the range that the batch names",
            "violation",
            lists.TooMany,
            code=0x0104,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "replay": Conduct(
            "BZ-03",
            "sends every batch twice",
            "a batch number that has been",
            "violation",
            order.Replay,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "replay_session": Conduct(
            "BZ-03",
            "announces the session before once more",
            "a signature over another session's chain",
            "violation",
            order.ReplaySession,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "skip_batch": Conduct(
            "BZ-04",
            "leaves the first batch out",
            "a gap in the batch numbers, or in the close's count",
            "violation",
            order.SkipBatch,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "reorder": Conduct(
            "BZ-04",
            "sends the first batch behind the second",
            "a gap in the batch numbers",
            "violation",
            order.Reorder,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "withhold": Conduct(
            "BZ-05",
            "says nothing once a session has begun",
            "silence; each ends the block when its patience is over",
            "rate",
            order.Withhold,
            test="test_silence_costs_a_block_and_reveals_nothing",
            monitors=("MON-09",),
        ),
        "withhold_from_one": Conduct(
            "BZ-06",
            "says nothing to the second user once a session has begun",
            "silence at one, who ends the block; the other has revealed nothing",
            "rate",
            order.WithholdFromOne,
            test="test_silence_costs_a_block_and_reveals_nothing",
            monitors=("MON-09",),
        ),
        "late": Conduct(
            "BZ-07",
            "announces once more after the close",
            "an announcement in a state that allows none; the block goes on without the relay",
            "violation",
            order.Late,
            code=0x0301,
            test="test_words_after_the_close_cost_the_link_alone",
        ),
        "wait_for_reveal": Conduct(
            "BZ-08",
            "keeps the close back, to hear settings before it",
            "silence; no setting leaves a user before the gate, and no gate opens before the close",
            "rate",
            order.WaitForReveal,
            test="test_silence_costs_a_block_and_reveals_nothing",
            monitors=("MON-09",),
        ),
        "out_of_range": Conduct(
            "BZ-09",
            "announces a pulse that the batch does not speak for",
            "a pulse number outside its range",
            "violation",
            lists.OutOfRange,
            code=0x0104,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "overlap": Conduct(
            "BZ-09",
            "speaks of the same pulses twice, under two numbers",
            "a batch that begins before the last one ended; "
            "a repeated pulse within a batch cannot be written down",
            "violation",
            lists.Overlap,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "swap_labels": Conduct(
            "BZ-10",
            "calls psi-minus psi-plus, and the reverse",
            "X errors at three quarters: no key; with a small share, a shorter one",
            "rate",
            lists.SwapLabels,
            share=1.0,
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=("MON-03", "MON-07"),
        ),
        "random_labels": Conduct(
            "BZ-10",
            "names Bell states by a coin",
            "X errors at a half: no key; with a small share, a shorter one",
            "rate",
            lists.RandomLabels,
            share=1.0,
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=("MON-03", "MON-07"),
        ),
        "invent": Conduct(
            "BZ-11",
            "adds events that never were to the true ones",
            "errors in both bases and yields that no intensity explains: no key",
            "rate",
            lists.Invent,
            share=1.0,
            test="test_lies_about_the_light_leave_no_key",
            monitors=_ALL_OF_LIGHT,
        ),
        "dark_relay": Conduct(
            "BZ-11",
            "looks at nothing and announces by a coin",
            "errors of one half in both bases: no key",
            "rate",
            attack="dark_relay",
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=_ALL_OF_LIGHT,
        ),
        "z_only": Conduct(
            "BZ-12",
            "measures both pulses in Z, and lies in X",
            "a phase-error bound past one half: no key",
            "rate",
            attack="z_only",
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=_ALL_OF_LIGHT,
        ),
        "intercept_resend": Conduct(
            "BZ-12",
            "measures each pulse in a random basis and sends on what it found",
            "errors in both bases: no key",
            "rate",
            attack="intercept_resend",
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=_ALL_OF_LIGHT,
        ),
        "photon_number": Conduct(
            "BZ-12",
            "drops pairs of single photons and keeps a photon of the others",
            "no single-photon pair is certain: no key",
            "rate",
            attack="photon_number",
            code=0x0501,
            test="test_lies_about_the_light_leave_no_key",
            monitors=_ALL_OF_LIGHT,
        ),
        "blinding": Conduct(
            "BZ-13",
            "makes blinded detectors click as it has measured",
            "errors cost more than there is: no key",
            "rate",
            attack="blinding",
            test="test_lies_about_the_light_leave_no_key",
            monitors=("MON-01", "MON-02", "MON-03", "MON-05"),
        ),
        "efficiency_mismatch": Conduct(
            "BZ-13",
            "shifts gates, so that each detector sees one bin badly",
            "fewer events, a shorter key, and a good one",
            "rate",
            attack="efficiency_mismatch",
            test="test_choosing_among_events_costs_rate_alone",
            monitors=("MON-01", "MON-02", "MON-05"),
        ),
        "time_selection": Conduct(
            "BZ-14",
            "speaks of 30 % of the time only",
            "fewer events, a shorter key, and a good one",
            "rate",
            attack="time_selection",
            test="test_choosing_among_events_costs_rate_alone",
            monitors=("MON-01", "MON-05"),
        ),
        "post_select": Conduct(
            "BZ-14",
            "keeps half of the events to itself",
            "fewer events, a shorter key, and a good one",
            "rate",
            lists.PostSelect,
            share=0.5,
            test="test_choosing_among_events_costs_rate_alone",
            monitors=("MON-01", "MON-05"),
        ),
        "oversize": Conduct(
            "BZ-15",
            "promises more bytes than a batch may have",
            "the header, before anything is read",
            "violation",
            frames.Oversize,
            code=0x0102,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "wrong_types": Conduct(
            "BZ-15",
            "sends arrays in arrays in place of a batch",
            "a body that is no message of its type",
            "violation",
            frames.WrongTypes,
            code=0x0104,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "not_canonical": Conduct(
            "BZ-15",
            "sends every batch with a byte too many",
            "a body that is no message of its type",
            "violation",
            frames.NotCanonical,
            code=0x0104,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "slow_loris": Conduct(
            "BZ-16",
            "begins a frame and never ends it, in every session",
            "silence; the block ends when patience is over, and the link with the time for a frame",
            "rate",
            frames.SlowLoris,
            test="test_silence_costs_a_block_and_reveals_nothing",
            monitors=("MON-09",),
        ),
        "flood": Conduct(
            "BZ-17",
            "sends 30 empty batches in front of each true one",
            "the same key; their number is bounded, and who reads slowly slows the sender",
            "rate",
            lists.Flood,
            test="test_a_flood_of_empty_batches_changes_nothing",
        ),
        "overdraw": Conduct(
            "BZ-17",
            "announces every pulse, all at once, whatever was granted",
            "more than 4 MiB that wait to be taken in",
            "violation",
            lists.Overdraw,
            code=0x0401,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "misbind": Conduct(
            "BZ-18",
            "tells the second user that its session is with somebody else",
            "a session of a pair that it is not",
            "violation",
            order.Misbind,
            code=0x0301,
            test="test_a_violation_is_refused_with_its_code",
            monitors=("MON-09",),
        ),
        "other_parameters": Conduct(
            "BZ-19",
            "tells the second user another pulse rate",
            "digests of the session that differ when the block opens; nothing was sent",
            "abort",
            order.OtherParameters,
            code=0x0203,
            test="test_other_parameters_are_found_when_the_block_opens",
            monitors=("MON-09",),
        ),
        "cut": Conduct(
            "BZ-21",
            "cuts both links after the close, while the users make their key",
            "the same key: past the gate nothing comes from the relay",
            "rate",
            order.Cut,
            test="test_links_that_are_cut_cost_time_alone",
        ),
        "flap": Conduct(
            "BZ-21",
            "cuts each link after every batch",
            "the same key: each new connection goes on where the last one broke off",
            "rate",
            order.Flap,
            test="test_links_that_are_cut_cost_time_alone",
        ),
        "start_anew": Conduct(
            "BZ-22",
            "cuts the links in place of the first batch, and claims to have restarted",
            "no key and nothing revealed; the next block goes on",
            "rate",
            order.StartAnew,
            test="test_sessions_that_are_called_off_cost_their_blocks_alone",
            monitors=("MON-09",),
        ),
        "abort_often": Conduct(
            "BZ-22",
            "announces everything and calls the session off in place of its close",
            "no key and nothing revealed; the next block goes on",
            "rate",
            order.AbortOften,
            test="test_sessions_that_are_called_off_cost_their_blocks_alone",
            monitors=("MON-09",),
        ),
        "starve": Conduct(
            "BZ-25",
            "serves the pair that asks first, and nobody else",
            "turns that never come; the served pair has its keys",
            "rate",
            order.Starve,
            test="test_the_first_pair_is_never_starved",
        ),
    }
)
"""Whoever adds one writes a class and a line in this table."""

ELSEWHERE: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "BZ-20": (
            "Users talk to each other directly; this version has no tunnel through a relay.",
            "",
        ),
        "BZ-23": (
            "There is one version and one suite: a `Hello` without it is refused (0x0201), "
            "and all parameters are compared when a block opens (`other_parameters`).",
            "tests/protocol/test_handshake.py::test_another_version_is_refused",
        ),
        "BZ-24": (
            "Listening changes nothing that could be tested: sizes and times are no secret "
            "of this version.",
            "",
        ),
    }
)
"""Cases without a behaviour: why, and a test if there is anything to test."""


def conduct_of(relay: str) -> Conduct | None:
    """The conduct that `relay = "..."` names; None for an honest relay.

    Raises:
        ValueError: A name that is not known, with those that are.
    """
    if relay == HONEST:
        return None
    known = BEHAVIOURS.get(relay.removeprefix(PREFIX)) if relay.startswith(PREFIX) else None
    if known is None:
        allowed = ", ".join((HONEST, *(PREFIX + name for name in BEHAVIOURS)))
        raise ValueError(f"relay: found {relay!r}; allowed: {allowed}")
    return known


def check(relay: str, extent: Extent) -> Conduct | None:
    """The conduct of a relay, if `extent` fits it.

    Raises:
        ValueError: An extent for an honest relay, or for an attack on the light, which begins with
            the first pulse; a share where there is none; a name that is not known.
    """
    conduct = conduct_of(relay)
    if extent == Extent():
        return conduct
    if conduct is None or conduct.attack is not None:
        raise ValueError(f"byzantine: found an extent; allowed with relay = {relay!r}: none")
    if extent.share is not None and conduct.share is None:
        raise ValueError(f"byzantine.share: found {extent.share}; allowed with {relay!r}: none")
    return conduct
