"""What a run has shown, as numbers: the board of all events turned into one record. No I/O.

The field names are the JSON contract of `mdiqkd run --json`; docs/reference/scenario.md explains
each of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from mdiqkd_net import __version__
from mdiqkd_net.blocks import CATEGORIES
from mdiqkd_net.estimation.accounting import binary_entropy
from mdiqkd_net.estimation.engine import blocks_needed, predict_estimate
from mdiqkd_net.physics import expected
from mdiqkd_net.physics.link_clicks import left_out
from mdiqkd_net.planning.prediction import expected_tallies
from mdiqkd_net.scenario.config import Measured, Scenario
from mdiqkd_net.scenario.events import BlockEnd, BlockKey
from mdiqkd_net.scenario.progress import Board, PairProgress, aborted_reason, agree
from mdiqkd_net.scenario.stores import Comparison
from mdiqkd_net.scenario.topology import UserPair


class GainRow(Struct, frozen=True, kw_only=True):
    """One category: what the run counted, beside the closed form and a published experiment.

    Gains are events per pulse pair of the category; `deviation` is the distance of the run from
    the closed form in standard deviations of a Poisson count. None where there is no such number.
    """

    category: str
    n: int
    n_expected: float
    gain: float | None
    gain_expected: float
    ratio: float | None
    deviation: float | None
    m: int | None
    error_rate: float | None
    error_rate_expected: float | None
    n_published: int | None = None
    gain_published: float | None = None
    ratio_published: float | None = None
    """Simulated over published, per pulse pair of the category."""
    error_rate_published: float | None = None


class BlockReport(Struct, frozen=True, kw_only=True):
    """One block as both users ended it."""

    block: int
    block_id: str | None
    pulses: int
    secret_bits: int
    reason: str | None
    qber_z: float | None
    qber_x: float | None
    s11_lower: float | None
    e11_upper: float | None
    leak_ec_bits: int | None
    f_ec: float | None
    scheme: str | None
    """How the users reconciled; None if they did not."""
    tag_failures: int
    seconds: Mapping[str, float]
    """Wall time of each stage: the slower user's."""


class AlarmReport(Struct, frozen=True, kw_only=True):
    """What a monitor of one user says of a block."""

    user: str
    block: int
    monitor: str
    """MON-01 to MON-10; docs/reference/monitors.md."""
    reason: str


class PairReport(Struct, frozen=True, kw_only=True):
    """One pair: sums over its blocks; of the bounds, the least favorable block's."""

    users: tuple[str, str]
    origin: str
    pulses: int
    secret_bits: int
    secret_bits_expected: int
    """What the closed form predicts for the same pulses, with the f_ec of the scenario."""
    pulses_needed: int | None
    """Pulse pairs of a block from which the closed form promises a key; None if it never does."""
    bits_per_pulse: float
    qber_z: float | None
    qber_x: float | None
    qber_z_expected: float | None
    qber_x_expected: float | None
    s11_lower: float | None
    e11_upper: float | None
    leak_ec_bits: int | None
    f_ec: float | None
    """Disclosed bits over the Shannon limit n h(QBER)."""
    n_keys: int
    """Keys that both stores hold."""
    keys_match: bool
    """Both stores hold the same keys, at least one."""
    stores_differ: bool
    """The stores do not hold the same keys: a fault, not a lack of light."""
    tag_failures: int
    reason: str | None
    """Why the last block without a key has none."""
    failure: str | None
    """What went wrong between the users, or with the relay: a fault, not a lack of light."""
    announced: int
    light_s: float
    light_pulses_per_s: float | None
    bytes_relay: int
    """Classical bytes between both users and the relay, both directions."""
    bytes_peer: int
    """Classical bytes between the users, both directions, counted once."""
    bytes_light: int
    """Bytes that carried simulated light; a real fiber needs none."""
    bytes_per_secret_bit: float | None
    gains: Sequence[GainRow]
    left_out: Sequence[str]
    """What the simulation has and the closed form does not know, in words."""
    blocks: Sequence[BlockReport]
    alarms: Sequence[AlarmReport]


class Report(Struct, frozen=True, kw_only=True):
    """A whole run. All rates of pulses are wall-clock rates of this machine."""

    title: str
    version: str
    origin: str
    method: str
    """How blocks were judged."""
    label: str
    """What has to stand beside every secret bit of the method; empty if nothing need be said."""
    relay: str
    """"honest", or what the relay did instead."""
    pulse_rate_hz: int
    wall_s: float
    first_key_s: float | None
    """From the start of the command until the first block was committed by both users."""
    pulses: int
    pulses_per_s: float | None
    """From the first light to the last key."""
    light_pulses_per_s: float | None
    """While there was light."""
    secret_bits: int
    pairs: Sequence[PairReport]
    stubborn: Sequence[str] = ()
    """Nodes that had to be killed after the run because they did not stop."""
    published: str | None = None
    """Where the published counts come from."""

    @property
    def every_pair_has_key(self) -> bool:
        """Whether each pair holds at least one key, and both stores the same ones."""
        return all(pair.secret_bits > 0 and pair.keys_match for pair in self.pairs)

    @property
    def faulty(self) -> bool:
        """Whether something happened that honest nodes and links do not do."""
        return any(
            pair.failure is not None or pair.tag_failures > 0 or pair.stores_differ
            for pair in self.pairs
        )


def build(
    scenario: Scenario,
    board: Board,
    stores: Mapping[UserPair, Comparison],
    *,
    command_s: float,
    wall_s: float,
    stubborn: Sequence[str] = (),
) -> Report:
    """Sum up a finished run.

    Args:
        scenario: What was run.
        board: All that the nodes said.
        stores: What the two stores of each pair hold.
        command_s: When the command began, on the clock of the events.
        wall_s: How long it took.
        stubborn: Nodes that had to be killed at the end.
    """
    records = list(board.pairs.values())
    pairs = [_pair(scenario, record, stores[record.users]) for record in records]
    pulses = sum(pair.pulses for pair in pairs)
    started = min((r.started_s for r in records if r.started_s is not None), default=None)
    ended = max((end.t_s for r in records for end in r.ends.values()), default=None)
    dark = max((r.light_ended_s for r in records if r.light_ended_s is not None), default=None)
    return Report(
        title=scenario.title,
        version=__version__,
        origin="simulated",
        method=scenario.analysis.method,
        label=scenario.analysis.rules.label,
        relay=scenario.relay,
        pulse_rate_hz=scenario.pulse_rate_hz,
        wall_s=wall_s,
        first_key_s=None if board.first_key_s is None else board.first_key_s - command_s,
        pulses=pulses,
        pulses_per_s=_per_s(pulses, started, ended),
        light_pulses_per_s=_per_s(sum(r.pulses for r in records), started, dark),
        secret_bits=sum(pair.secret_bits for pair in pairs),
        pairs=pairs,
        stubborn=stubborn,
        published=scenario.measured.source if scenario.measured is not None else None,
    )


def predicted_bits(scenario: Scenario, users: UserPair) -> int:
    """Key length that the expected counts of one block would permit."""
    link = scenario.link(users)
    return predict_estimate(
        expected_tallies(link), link.alice, link.bob, link.security, scenario.analysis
    ).key_length_bits


def pulses_needed(scenario: Scenario, users: UserPair) -> int | None:
    """Pulse pairs of a block from which the expected counts permit a key; None if none do."""
    # A block of one pulse, scaled up: `blocks_needed` only ever scales up.
    link = msgspec.structs.replace(scenario.link(users), n_pulses=1)
    factor = blocks_needed(
        expected_tallies(link), link.alice, link.bob, link.security, scenario.analysis
    )
    return None if factor is None else math.ceil(factor)


def encode(report: Report) -> bytes:
    """The report as JSON, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def _pair(scenario: Scenario, record: PairProgress, stores: Comparison) -> PairReport:
    ended = record.ended_blocks
    lows = [low for low, _ in ended]
    blocks = [_block(low, high) for low, high in ended]
    bits = sum(block.secret_bits for block in blocks)
    pulses = sum(block.pulses for block in blocks)
    relay = sum(low.bytes_relay + high.bytes_relay for low, high in ended)
    peer = sum(max(low.bytes_peer, high.bytes_peer) for low, high in ended)
    # Who ended before settings were revealed knows no category.
    gains = _gains(scenario, record.users, lows, sum(low.pulses for low in lows if low.n))
    error_rates = {row.category: row.error_rate_expected for row in gains}
    return PairReport(
        users=record.users,
        origin=next((low.origin for low in lows), "simulated"),
        pulses=pulses,
        secret_bits=bits,
        secret_bits_expected=scenario.blocks * predicted_bits(scenario, record.users),
        pulses_needed=pulses_needed(scenario, record.users),
        bits_per_pulse=bits / pulses if pulses else 0.0,
        qber_z=_mean([(low.qber_z, low.n.get("zz", 0)) for low in lows]),
        qber_x=_mean([(low.qber_x, low.n.get("xx", 0)) for low in lows]),
        qber_z_expected=error_rates["zz"],
        qber_x_expected=error_rates["xx"],
        s11_lower=min(_known(low.s11_lower for low in lows), default=None),
        e11_upper=max(_known(low.e11_upper for low in lows), default=None),
        leak_ec_bits=_sum(low.leak_ec_bits for low in lows),
        f_ec=_f_ec(lows),
        n_keys=stores.n_keys,
        keys_match=stores.match,
        stores_differ=not stores.equal,
        tag_failures=sum(block.tag_failures for block in blocks),
        reason=next((block.reason for block in reversed(blocks) if block.reason), None),
        failure="; ".join(f"{user}: {why}" for user, why in sorted(record.failures.items()))
        or None,
        announced=record.announced,
        light_s=record.light_s,
        light_pulses_per_s=record.pulses / record.light_s if record.light_s > 0.0 else None,
        bytes_relay=relay,
        bytes_peer=peer,
        bytes_light=sum(low.bytes_light + high.bytes_light for low, high in ended),
        bytes_per_secret_bit=(relay + peer) / bits if bits else None,
        gains=gains,
        left_out=left_out(scenario.link(record.users)),
        blocks=blocks,
        alarms=[
            AlarmReport(user=a.node, block=a.block, monitor=a.monitor, reason=a.reason)
            for a in sorted(record.alarms, key=lambda a: (a.block, a.node, a.monitor))
        ],
    )


def _block(low: BlockEnd, high: BlockEnd) -> BlockReport:
    same = agree(low, high)
    reasons = [reason for end in (low, high) if (reason := aborted_reason(end))]
    # A user that was told the block had ended knows less than the one that ended it.
    reason = min(reasons, key=lambda why: why.startswith("the peer ended"), default=None)
    if not same and reason is None:
        reason = "the users do not report the same key"
    return BlockReport(
        block=low.block,
        block_id=low.block_id,
        pulses=low.pulses,
        secret_bits=low.secret_bits if same and isinstance(low, BlockKey) else 0,
        reason=reason,
        qber_z=low.qber_z,
        qber_x=low.qber_x,
        s11_lower=low.s11_lower,
        e11_upper=low.e11_upper,
        leak_ec_bits=low.leak_ec_bits,
        f_ec=_f_ec([low]),
        scheme=low.scheme,
        tag_failures=low.tag_failures + high.tag_failures,
        seconds={
            stage: max(low.seconds.get(stage, 0.0), high.seconds.get(stage, 0.0))
            for stage in {**low.seconds, **high.seconds}
        },
    )


def _gains(
    scenario: Scenario, users: UserPair, ends: Sequence[BlockEnd], pulses: int
) -> list[GainRow]:
    link = scenario.link(users)
    gains, error_gains = expected.gains_and_errors(link)
    p_low, p_high = link.alice.probabilities, link.bob.probabilities
    rows = []
    for i, category in enumerate(CATEGORIES):
        share = p_low[i // 4] * p_high[i % 4]
        n = sum(end.n.get(category, 0) for end in ends)
        m = _sum(end.m.get(category) for end in ends)
        gain, n_expected = gains[category], pulses * share * gains[category]
        row = GainRow(
            category=category,
            n=n,
            n_expected=n_expected,
            gain=_ratio(n, pulses * share),
            gain_expected=gain,
            ratio=_ratio(n, n_expected),
            deviation=(n - n_expected) / math.sqrt(n_expected) if n_expected > 0.0 else None,
            m=m,
            error_rate=None if m is None else _ratio(m, n),
            error_rate_expected=_ratio(error_gains[category], gain),
        )
        if scenario.measured is not None and category in scenario.measured.counts:
            row = _beside(row, scenario.measured, share, n / pulses if pulses else None)
        rows.append(row)
    return rows


def _beside(row: GainRow, measured: Measured, share: float, rate: float | None) -> GainRow:
    n = measured.counts[row.category]
    m = measured.errors.get(row.category)
    published = n / measured.n_pulses
    return msgspec.structs.replace(
        row,
        n_published=n,
        gain_published=_ratio(published, share),
        ratio_published=None if rate is None else _ratio(rate, published),
        error_rate_published=None if m is None else _ratio(m, n),
    )


def _ratio(a: float, b: float) -> float | None:
    return a / b if b > 0.0 else None


def _per_s(pulses: int, start_s: float | None, stop_s: float | None) -> float | None:
    if start_s is None or stop_s is None:
        return None
    return _ratio(pulses, stop_s - start_s)


def _f_ec(ends: Sequence[BlockEnd]) -> float | None:
    disclosed, limit = 0, 0.0
    for end in ends:
        if end.leak_ec_bits is not None and end.qber_z is not None:
            disclosed += end.leak_ec_bits
            limit += end.n.get("zz", 0) * binary_entropy(end.qber_z)
    return _ratio(disclosed, limit)


def _known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _mean(pairs: Sequence[tuple[float | None, int]]) -> float | None:
    """Weighted mean of what is known; plain if all weights are zero."""
    known = [(value, weight) for value, weight in pairs if value is not None]
    total = sum(weight for _, weight in known)
    if not known:
        return None
    if total == 0:
        return sum(value for value, _ in known) / len(known)
    return sum(value * weight for value, weight in known) / total
