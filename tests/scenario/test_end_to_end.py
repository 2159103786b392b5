"""Everything for real: three processes, TLS on localhost, simulated light, two key stores."""

import hashlib
import json

import pytest

from mdiqkd_net.cli import main
from mdiqkd_net.estimation.certificate.design import LABEL
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.postprocessing.reconcile import RECONCILERS


def test_a_small_pair_makes_the_same_key_on_both_sides(write_scenario, tmp_path):
    target = tmp_path / "report.json"
    path = write_scenario()
    assert main(["run", str(path), "--quiet", "--json", str(target)]) == 0
    report = json.loads(target.read_text())
    (pair,) = report["pairs"]
    assert pair["keys_match"] is True
    assert pair["n_keys"] == pair["secret_bits"] // 256 > 0
    assert pair["tag_failures"] == 0
    assert pair["pulses"] == 10**9
    assert 0.0 < report["first_key_s"] <= report["wall_s"]
    assert pair["blocks"][0]["scheme"] in RECONCILERS
    # 2e6 events of zz and 8e4 of xx: both ranges are ten standard deviations wide on either side.
    assert 0.003 < pair["qber_z"] < 0.007
    assert 0.24 < pair["qber_x"] < 0.28
    # Counts follow the closed form: sixteen categories, each beyond 6.5 sigma in fewer than one
    # run of 10^10 where the Poisson law is near a normal one.
    assert all(abs(g["deviation"]) < 6.5 for g in pair["gains"] if g["n_expected"] > 1000)
    assert sum(g["n_expected"] > 1000 for g in pair["gains"]) >= 10


def test_a_pair_that_is_judged_by_the_certificate(write_scenario, tmp_path, capsys):
    """A third of the other run's light; designs are written, frozen by both users, and used."""
    target, keep = tmp_path / "report.json", tmp_path / "kept"
    path = write_scenario(more='estimation = { method = "certificate" }')
    options = ["--quiet", "--json", str(target), "--keep", str(keep), "--n-pulses", "3e8"]
    assert main(["run", str(path), *options]) == 0
    report = json.loads(target.read_text())
    (pair,) = report["pairs"]
    assert pair["keys_match"] is True
    assert pair["secret_bits"] == pytest.approx(pair["secret_bits_expected"], rel=0.3)
    assert (report["method"], report["label"]) == ("certificate", LABEL)
    assert LABEL in capsys.readouterr().out
    design = (keep / "designs" / "alice--bob.json").read_bytes()
    for user in ("alice", "bob"):
        (line,) = (keep / "nodes" / user / "keys.db.frozen.jsonl").read_text().splitlines()
        assert json.loads(line)["design_sha256"] == hashlib.sha256(design).hexdigest()
        assert json.loads(line)["users"] == ["alice", "bob"]
        with KeyStore.open(keep / "nodes" / user / "keys.db", create=False) as store:
            (*keys,) = store.keys()
        assert all(key.leak_model.endswith(LABEL) for key in keys)
