"""`mdiqkd bench postprocessing` as a user meets it."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.errors import LocalProtocolError
from mdiqkd_net.postprocessing import processor, reconcile
from mdiqkd_net.postprocessing.amplify import tiers
from mdiqkd_net.postprocessing.leak import binary_entropy
from mdiqkd_net.postprocessing.reconcile import RECONCILERS
from mdiqkd_net.protocol import reconciling

MEASURED = ("_s", "_bytes")
"""How the names of figures end that no seed can fix."""


def ask(capsys, *args):
    code = main(["bench", "postprocessing", *(str(a) for a in args)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def small(monkeypatch):
    """Hashing and chain of a size for tests, each timed once."""
    from mdiqkd_net.cli import bench
    from mdiqkd_net.laboratory.postprocessing import timing

    monkeypatch.setattr(timing, "_ENOUGH_S", 0.0)
    monkeypatch.setattr(bench, "_QUICK_SIZES", (20_000, 200_000))
    monkeypatch.setattr(bench, "_QUICK_CHAIN_BITS", 300_000)


def seeded(found):
    """All that has to be the same again."""
    if isinstance(found, Mapping):
        return {k: seeded(v) for k, v in found.items() if not k.endswith(MEASURED)}
    return [seeded(v) for v in found] if isinstance(found, list) else found


def test_tables_fit_a_terminal_and_a_plot_is_drawn(capsys, tmp_path, small):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.svg"
    code, out, _ = ask(capsys, "--quick", "--bits", 2**17, "--plot", path)
    assert code == 0
    assert all(word in out for word in (*RECONCILERS, *tiers(), "verify", "failed", "Not counted"))
    assert max(map(len, out.splitlines())) <= 80
    assert path.read_text().startswith("<?xml")


def test_everything_but_time_and_memory_follows_from_the_seed(capsys, small):
    options = ("--quick", "--json", "--bits", 100_000, "--qber", "0.03,0.01", "--scheme", "cascade")
    code, out, _ = ask(capsys, *options)
    assert code == 0
    found = json.loads(out)
    rows = found["reconciliation"]
    assert [row["qber"] for row in rows] == [0.03, 0.01]
    for row in rows:
        assert (row["n_keys"], row["n_frames"]) == (2, 4)
        q = row["n_errors"] / 200_000
        # Errors are binomial; six standard deviations: false alarm 2e-9.
        assert abs(q - row["qber"]) < 6 * np.sqrt(row["qber"] / 200_000)
        assert row["f"] == pytest.approx(row["leak_bits"] / (200_000 * binary_entropy(q)))
        assert 1.0 < row["f"] < 1.2
        assert row["failed_keys"] <= row["failed_frames"] == 0
        assert row["alice_cpu_s"] > 0.0
        assert row["peak_bytes"] > 100_000 / 8
        assert row["both_bits_per_s"] == pytest.approx(100_000 / row["both_cpu_s"])
    assert {(row["tier"], row["ratio"]) for row in found["amplification"]} == {
        (tier, ratio) for tier in tiers() for ratio in (0.1, 0.5)
    }
    assert [row["n_bits"] for row in found["verification"]] == [20_000, 200_000]
    assert [(row["qber"], row["n_out"]) for row in found["chain"]] == [
        (0.02, 150_000),
        (0.005, 150_000),
    ]
    assert [row["stage"] for row in found["first_calls"]] == ["cascade", *tiers()]
    assert seeded(json.loads(ask(capsys, *options)[1])) == seeded(found)
    other = json.loads(ask(capsys, *options, "--seed", 2)[1])
    assert seeded(other["reconciliation"]) != seeded(found["reconciliation"])


class Sloppy(RECONCILERS["cascade"]):
    """Leaves an error in the second frame of each key, and refuses small error rates."""

    def __init__(self, bits, *, corrects, qber, seed):
        if qber < 0.01:
            raise LocalProtocolError(f"qber: found {qber}; allowed: 0.01 or more")
        super().__init__(bits, corrects=corrects, qber=qber, seed=seed)
        self._sloppy = corrects

    @property
    def bits(self):
        bits = super().bits
        if self._sloppy:
            bits[70_000] ^= 1
        return bits


def test_a_scheme_that_fails_or_refuses_is_a_row(capsys, small, monkeypatch):
    from mdiqkd_net.cli import bench

    schemes = {"sloppy": Sloppy}
    monkeypatch.setattr(bench, "_QUICK_CHAIN_BITS", 1_500_000)
    monkeypatch.setattr(reconcile, "RECONCILERS", schemes)
    monkeypatch.setattr(reconciling, "RECONCILERS", schemes)
    monkeypatch.setattr(processor, "RECONCILERS", schemes)
    options = ("--quick", "--bits", 200_000, "--qber", "0.005,0.03")
    code, out, _ = ask(capsys, *options, "--json")
    assert code == 0
    found = json.loads(out)
    refused, failed = found["reconciliation"]
    assert "allowed: 0.01 or more" in refused["refusal"]
    assert refused["f"] is refused["both_bits_per_s"] is None
    assert (failed["failed_frames"], failed["n_frames"], failed["failed_keys"]) == (2, 8, 2)
    chain, refused_chain = found["chain"]
    # One chunk, so one wrong bit, and so one wrong group of two.
    assert (chain["n_wrong_groups"], chain["refusal"]) == (1, "")
    assert "allowed: 0.01 or more" in refused_chain["refusal"]
    code, out, _ = ask(capsys, *options)
    assert code == 0
    assert out.count("allowed: 0.01 or more") == 2


def test_progress_goes_to_stderr(capsys, small, monkeypatch):
    from mdiqkd_net.cli import bench

    monkeypatch.setattr(bench, "_QUIET_S", 0.0)
    options = ("--quick", "--bits", 5000, "--qber", 0.02, "--scheme", "cascade", "--json")
    code, out, err = ask(capsys, *options)
    assert code == 0
    assert json.loads(out)
    assert "chain with cascade at QBER 0.005" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bits", 100), "--bits: found 100; allowed: 4096 to 1000000000"),
        (("--qber", "0.02,x"), "--qber: found 'x'; allowed: numbers above 0 and below 0.5"),
        (("--qber", "0.02,0.5"), "--qber: found '0.5'"),
        (("--qber", "nan"), "--qber: found 'nan'"),
        (("--qber", ""), "--qber: found ''"),
        (("--scheme", "winnow"), "--scheme: found 'winnow'; allowed: cascade"),
        (("--seed", -1), "--seed: found -1; allowed: 0 or greater"),
        (("--plot", "x.gif"), "--plot: found 'x.gif'; allowed: a name in .png"),
        (("--quick", "--long"), "not allowed with argument --quick"),
    ],
)
def test_options_that_do_not_go(capsys, options, message):
    code, out, err = ask(capsys, *options)
    assert code == 2
    assert message in err
    assert not out
