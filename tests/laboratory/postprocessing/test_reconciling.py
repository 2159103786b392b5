import numpy as np
import pytest
from scipy.stats import binomtest

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.laboratory.postprocessing.reconciling import (
    ALICE,
    BOB,
    Task,
    measure_reconciliation,
    sifted_keys,
)
from mdiqkd_net.postprocessing import processor
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol import reconciling

FALSE_ALARM = 1e-6


def test_keys_are_random_with_as_many_errors_as_told():
    """Two binomial tests; false alarm 1e-6 each."""
    alice, bob = sifted_keys(100_001, 0.03, seed=1)
    assert alice.shape == bob.shape == (100_001,)
    assert alice.dtype == bob.dtype == np.uint8
    assert binomtest(int(alice.sum()), alice.size, 0.5).pvalue > FALSE_ALARM
    assert binomtest(int((alice ^ bob).sum()), alice.size, 0.03).pvalue > FALSE_ALARM
    again, another = (sifted_keys(100_001, 0.03, seed=1, number=n)[0] for n in (0, 1))
    assert np.array_equal(alice, again)
    assert not np.array_equal(alice, another)


@pytest.mark.parametrize("scheme", RECONCILERS)
def test_users_agree_together_and_hear_the_same_alone(scheme, monkeypatch):
    """Over two chunks; the messages are those of a second run, bit by bit."""
    monkeypatch.setattr(reconciling, "CHUNK_BITS", 40_000)
    task = Task(*sifted_keys(70_000, 0.02, 2), scheme, 0.02, 2)
    (alice, bob), heard = task.together()
    assert np.array_equal(alice.bits, task.alice)
    assert np.array_equal(bob.bits, task.alice)
    assert task.together()[1] == heard
    for user in (ALICE, BOB):
        task.alone(user, heard[user])
    with pytest.raises(RemoteProtocolError):
        task.alone(ALICE, heard[ALICE][1:])


def test_a_row_counts_what_the_scheme_has_sent():
    task = Task(*sifted_keys(50_000, 0.05, 3), "cascade", 0.05, 3)
    (alice, _), heard = task.together()
    row = measure_reconciliation("cascade", 0.05, 50_000, n_keys=1, seed=3)
    assert row.n_errors == np.count_nonzero(task.alice ^ task.bob) == alice.n_corrected
    assert row.rounds == (len(heard[ALICE]),)
    assert (row.leak_bits, row.answer_bits) == (
        alice.ledger.parity_bits,
        alice.ledger.answer_bits,
    )
    sent = sum(8 * len(message.payload) for message in heard[ALICE])
    # Payloads are whole bytes.
    assert row.answer_bits <= sent < row.answer_bits + 8 * row.rounds[0]


class Mute(RECONCILERS["cascade"]):
    """Bob ends after three rounds, and Alice does not know."""

    def __init__(self, bits, *, corrects, qber, seed):
        super().__init__(bits, corrects=corrects, qber=qber, seed=seed)
        self._gives_up = corrects

    def receive(self, payload):
        reply = super().receive(payload)
        return None if self._gives_up and self.rounds > 3 else reply


def test_users_who_end_in_different_rounds_are_refused(monkeypatch):
    monkeypatch.setattr(processor, "RECONCILERS", {"mute": Mute})
    row = measure_reconciliation("mute", 0.02, 10_000, n_keys=1, seed=1)
    assert "before its chunk was opened" in row.refusal
    assert row.n_errors == row.leak_bits == 0
    with pytest.raises(RemoteProtocolError):
        Task(*sifted_keys(10_000, 0.02, 1), "mute", 0.02, 1).together()


def test_keys_without_errors_have_no_efficiency():
    row = measure_reconciliation("cascade", 1e-9, 5000, n_keys=1, seed=1)
    assert (row.n_errors, row.f, row.refusal) == (0, None, "")
