import numpy as np
import pytest

from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.laboratory.postprocessing import chain
from mdiqkd_net.laboratory.postprocessing.chain import make_key, measure_chain
from mdiqkd_net.laboratory.postprocessing.reconciling import Task, sifted_keys
from mdiqkd_net.postprocessing.verify import VerificationError

TASK = Task(*sifted_keys(1_200_000, 0.01, 5), "cascade", 0.01, 5)


def test_a_chain_ends_with_one_key(monkeypatch):
    """What each user hashes is Alice's key."""
    hashed = []
    amplify = chain.amplify
    monkeypatch.setattr(
        chain, "amplify", lambda bits, seed, n: hashed.append(bits) or amplify(bits, seed, n)
    )
    made = make_key(TASK)
    assert (made.n_bits, made.n_out, made.n_wrong_groups) == (1_200_000, 600_000, 0)
    assert len(hashed) == 2
    assert all(np.array_equal(bits, TASK.alice) for bits in hashed)
    assert made.both_cpu_s == made.reconcile_s + made.verify_s + made.amplify_s


def test_a_wrong_amplification_is_no_speed(monkeypatch):
    results = iter([b"\0", b"\1"] * 5)
    monkeypatch.setattr(chain, "amplify", lambda *_: next(results))
    with pytest.raises(LocalProtocolError, match="found two that differ"):
        make_key(TASK)
    assert "found two that differ" in measure_chain("cascade", 0.01, 1_200_000, seed=5).refusal


def test_keys_that_verification_cannot_mend_are_refused(monkeypatch):
    """A wrong tag of the whole."""
    tags = chain._tags
    monkeypatch.setattr(chain, "_tags", lambda key, r: [*tags(key, r)[:-1], bytes(16)])
    with pytest.raises(VerificationError):
        make_key(TASK)
