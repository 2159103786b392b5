"""Blocks that are judged by a design which both users froze before the light."""

import functools

import msgspec
import pytest
from triangle import RECEIVER, SECURITY, SOURCE, TRANSMITTANCE, Triangle

from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.estimation.certificate.design import LABEL
from mdiqkd_net.params import Link, Security, UserLink
from mdiqkd_net.planning.prediction import design_of
from mdiqkd_net.protocol.reconciling import LEAK_MODEL
from mdiqkd_net.wire import messages as m

N_PULSES = 12_000_000


@functools.cache
def frozen(n_pulses=N_PULSES, security=SECURITY):
    user = UserLink(x=SOURCE.x, y=SOURCE.y, z=SOURCE.z, length_km=7.745, attenuation_db_per_km=0.2)
    assert user.transmittance == pytest.approx(TRANSMITTANCE, rel=1e-3)
    link = Link(
        n_pulses=n_pulses,
        alice=user,
        bob=user,
        receiver=RECEIVER,
        eps_sec=security.eps_sec,
        eps_cor=security.eps_cor,
        f_ec=security.f_ec,
        bell_states=("psi_minus", "psi_plus"),
    )
    design = design_of(link)
    return Analysis(method="certificate", design=design, digest=design.digest())


@pytest.fixture(scope="module")
def certified():
    return Triangle(N_PULSES, alice_analysis=frozen(), bob_analysis=frozen()).run()


@pytest.fixture(scope="module")
def scanned():
    return Triangle(N_PULSES).run()


def test_the_same_key_at_both_where_the_double_scan_has_none_yet(certified, scanned):
    assert certified.alice.ended == certified.bob.ended == ["key"]
    assert certified.alice.keys == certified.bob.keys
    assert certified.alice.report("block.key")["secret_bits"] > 1000
    assert scanned.alice.ended == ["aborted"]


def test_the_digest_is_frozen_at_both_before_the_light(certified, scanned):
    """The triangle refuses a digest that comes after the light."""
    assert certified.alice.frozen == certified.bob.frozen == [frozen().digest]
    assert scanned.alice.frozen == []


def test_the_label_is_in_every_report_and_with_the_key(certified):
    for user in (certified.alice, certified.bob):
        for event in ("block.estimated", "block.key"):
            assert user.report(event)["label"] == LABEL
            assert user.report(event)["method"] == "certificate"
        assert user.report("block.key")["design_sha256"] == frozen().digest
        assert user.report("block.key")["s11_lower"] is None
    assert LABEL in certified.alice.models[0]
    assert certified.alice.models[0].startswith(LEAK_MODEL)


def test_the_double_scan_needs_no_label(scanned):
    ended = scanned.alice.report("block.aborted")
    assert (ended["method"], ended["label"]) == ("double_scan", "")


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("method: the peer proposes certificate; allowed: double_scan", Analysis()),
        ("method", Analysis(method="tangent_lp")),
    ],
)
def test_users_that_judge_by_another_method_send_no_light(words, change):
    refused_before_light(Triangle(alice_analysis=frozen(), bob_analysis=change).run(), words)


def test_users_with_another_tail_send_no_light():
    refused_before_light(Triangle(bob_analysis=Analysis(tail="poisson")).run(), "tail: the peer")


def test_users_with_another_accounting_send_no_light():
    triangle = Triangle(alice_analysis=Analysis(accounting="linear")).run()
    refused_before_light(triangle, "accounting: the peer proposes linear")


def test_users_with_another_design_send_no_light():
    other = frozen(N_PULSES * 2)
    triangle = Triangle(alice_analysis=frozen(), bob_analysis=other).run()
    refused_before_light(triangle, f"design: the peer proposes {frozen().digest}")


def refused_before_light(triangle, words):
    assert words in str(triangle.bob.error)
    assert triangle.bob.error.abort_code == 0x0203
    assert triangle.alice.keys == triangle.bob.keys == {}
    assert m.PairArmed.TYPE not in [kind for who, _, kind in triangle.trace if who == "bob"]
    assert triangle.bob.frozen == triangle.bob.light_seen == []


def test_a_design_that_is_not_the_frozen_one_gives_no_key():
    """Both agree on a digest that is another design's."""
    swapped = msgspec.structs.replace(frozen(), digest=frozen(N_PULSES * 2).digest)
    triangle = Triangle(N_PULSES, alice_analysis=swapped, bob_analysis=swapped).run()
    reason = triangle.alice.report("block.aborted")["reason"]
    assert "not the one that was frozen before the block" in reason
    assert triangle.alice.keys == triangle.bob.keys == {}


def test_a_block_without_a_key_says_how_much_longer(certified):
    n = 100_000
    triangle = Triangle(n, alice_analysis=frozen(n), bob_analysis=frozen(n)).run()
    ended = triangle.alice.report("block.aborted")
    assert "at this rate would give a key" in ended["reason"]
    assert 0.0 < ended["seconds_more_needed"] < 1.0
    assert ended["label"] == LABEL


def test_another_budget_than_that_of_the_design_is_no_key():
    tight = Security(eps_sec=1e-7, eps_cor=1e-10)
    triangle = Triangle(
        N_PULSES,
        alice_security=tight,
        bob_security=tight,
        alice_analysis=frozen(),
        bob_analysis=frozen(),
    ).run()
    assert "eps_sec 1e-06, not 1e-07" in triangle.alice.report("block.aborted")["reason"]
