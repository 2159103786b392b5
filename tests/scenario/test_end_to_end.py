"""Everything for real: three processes, TLS on localhost, simulated light, two key stores."""

import json

from mdiqkd_net.cli import main


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
    # 2e6 events of zz and 8e4 of xx: both ranges are ten standard deviations wide on either side.
    assert 0.003 < pair["qber_z"] < 0.007
    assert 0.24 < pair["qber_x"] < 0.28
    # Counts follow the closed form: sixteen categories, each beyond 6.5 sigma in fewer than one
    # run of 10^10 where the Poisson law is near a normal one.
    assert all(abs(g["deviation"]) < 6.5 for g in pair["gains"] if g["n_expected"] > 1000)
    assert sum(g["n_expected"] > 1000 for g in pair["gains"]) >= 10
