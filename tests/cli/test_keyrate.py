"""The verb: exit codes, the JSON contract, and the report that people read."""

import json
import math
from pathlib import Path

import pytest
from link_text import LINK

from mdiqkd_net.blocks import CATEGORIES
from mdiqkd_net.cli import main

REAL = (
    Path(__file__).parents[2].parent
    / "shared/data/real/counts/ustc_mdiqkd_four_intensity_DATA_FILE.csv"
)
needs_real_data = pytest.mark.skipif(
    not REAL.exists(), reason="the genuine recordings are not beside this checkout"
)


def numbers(value):
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


def run_json(capsys, *arguments):
    code = main(["keyrate", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert captured.err == ""
    result = json.loads(captured.out, parse_constant=pytest.fail)
    assert all(math.isfinite(v) for v in numbers(result))
    return code, result


def test_prediction_for_the_benchmark_link(capsys, link_file):
    code, result = run_json(capsys, "--link", link_file)
    assert code == 0
    assert result["verdict"] == "key"
    assert result["rate_per_pulse"] == pytest.approx(1.41911e-4, rel=1e-5)
    assert result["rate_per_pulse"] == result["key_length_bits"] / 1e12
    assert result["asymptotic_rate_per_pulse"] == pytest.approx(2.1605e-4, abs=5.1e-9)
    assert result["infinite_decoy_rate_per_pulse"] == pytest.approx(4.1589e-4, rel=1e-4)
    assert result["y11_true"] == pytest.approx(0.008000044196, abs=5.1e-13)
    assert result["e11_true"] == pytest.approx(0.015002776395, abs=5.1e-13)
    for name in ("gains", "error_gains", "expected_counts"):
        assert set(result[name]) == set(CATEGORIES)
    assert result["expected_counts"]["zz"] == pytest.approx(1223202915.68, abs=0.0051)
    pairs = 1e12 * 0.82**2
    assert result["gains"]["zz"] * pairs == pytest.approx(result["expected_counts"]["zz"])
    assert result["error_gains"]["zz"] * pairs == pytest.approx(18355670.8867, abs=1e-3)
    assert result["data_factor_needed"] == 1.0


def test_declared_bounds_of_the_sources(capsys, link_file, tmp_path):
    ideal = run_json(capsys, "--link", link_file)[1]
    assert ideal["source_bounds"] == {"alice": {}, "bob": {}}
    text = link_file.read_text()
    bounds = "bounds = { x_relative = 0.01, vacuum_intensity = 1e-4, vacuum_light = 'x' }"
    declared = tmp_path / "declared.toml"
    declared.write_text(text.replace("[bob]", f"[bob]\n{bounds}", 1))
    code, result = run_json(capsys, "--link", declared)
    assert code == 0
    assert result["source_bounds"]["alice"] == {}
    assert result["source_bounds"]["bob"] == {
        "x_relative": 0.01,
        "vacuum_intensity": 1e-4,
        "vacuum_light": "x",
    }
    assert 0 < result["key_length_bits"] < ideal["key_length_bits"]
    assert main(["keyrate", "--link", str(declared), "--explain"]) == 0
    out = capsys.readouterr().out
    assert "Source bounds in force, bob: x_relative 0.01, vacuum_intensity 0.0001" in out
    assert "alice: none, an ideal source" in out
    assert "all xx from above" in out
    optimized = run_json(capsys, "--link", declared, "--optimize", "--equal")[1]
    assert optimized["source_bounds"] == result["source_bounds"]
    assert optimized["key_length_bits"] > result["key_length_bits"]
    declared.write_text(text.replace("[bob]", "[bob]\nbounds = { trojan_photons = 1e-7 }", 1))
    code, refused = run_json(capsys, "--link", declared, "--method", "asymptotic")
    assert code == 1
    assert "Bob's source declares trojan_photons" in refused["reason"]
    assert refused["data_factor_needed"] is None


@pytest.mark.parametrize(
    ("method", "tail", "accounting", "rate"),
    [
        ("double_scan", "poisson", "variable", 1.43841e-4),
        ("double_scan", "chernoff", "linear", 1.61315e-4),
        ("tangent_lp", "chernoff", "variable", 1.56376e-4),
        ("asymptotic", "chernoff", "variable", 2.1605e-4),
    ],
)
def test_an_analysis_chosen_by_name(capsys, link_file, method, tail, accounting, rate):
    choice = ("--method", method, "--tail", tail, "--accounting", accounting)
    code, result = run_json(capsys, "--link", link_file, *choice)
    assert code == 0
    assert result["rate_per_pulse"] == pytest.approx(rate, rel=1e-4)
    names = [result[name] for name in ("method", "tail", "accounting")]
    assert names == ([method, None, None] if method == "asymptotic" else list(choice[1::2]))
    assert 0.0 < result["seconds"] < 60.0
    assert result["verdict"] == ("key" if method != "asymptotic" else "limit, not a key")
    ledger = result["eps_ledger"]
    assert sum(ledger["constant_bits"].values()) == pytest.approx(result["constant_bits"])
    if method == "asymptotic":
        assert (ledger["scheme"], ledger["shares"]) == ("none", [])
    else:
        assert ledger["scheme"] == accounting
        assert ledger["sums"]["secrecy"] == pytest.approx(result["eps_sec"], rel=1e-9)
        assert ledger["sums"]["correctness"] == result["eps_cor"]


def test_explain_prints_a_sum_that_can_be_checked(capsys, link_file):
    assert main(["keyrate", "--link", str(link_file), "--explain"]) == 0
    out = capsys.readouterr().out
    for words in ("6.25e-22", "privacy amplification, eps_PA", "1e-10", "Not included: auth"):
        assert words in out
    # The last column of the statements adds up to the line that says so.
    ledger = out[out.index("Where each epsilon goes") :]
    rows = [line.split("│") for line in ledger.splitlines() if line.count("│") == 5]
    totals = [float(row[4]) for row in rows if row[2].strip()]
    statements = [x for x in totals if x < 1e-20]
    assert sum(statements) == pytest.approx(6.25e-22, rel=1e-5)
    assert main(["keyrate", "--link", str(link_file)]) == 0
    assert "Where each epsilon goes" not in capsys.readouterr().out


def test_the_limit_is_not_called_a_key(capsys, link_file):
    arguments = ["keyrate", "--link", str(link_file), "--method", "asymptotic", "--explain"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "are the limit of infinitely long blocks" in out
    assert "no statement about any key" in out
    assert "A key of" not in out


@pytest.mark.parametrize("option", ["--method", "--tail", "--accounting"])
def test_names_that_do_not_exist(capsys, link_file, option):
    assert main(["keyrate", "--link", str(link_file), option, "best"]) == 2
    assert f"{option[2:]}: found 'best'; allowed:" in capsys.readouterr().err


def test_a_link_without_a_key(capsys, tmp_path):
    path = tmp_path / "link.toml"
    path.write_text(LINK.replace("1000000000000", "100000000"))
    code, result = run_json(capsys, "--link", path)
    assert code == 1
    assert result["verdict"] == "no key"
    assert result["key_length_bits"] == 0
    assert result["reason"]
    assert result["data_factor_needed"] > 1.0


def test_dead_link_has_no_numbers_that_are_none(capsys, tmp_path):
    path = tmp_path / "link.toml"
    dead = LINK.replace("efficiency = 0.4", "efficiency = 0.0")
    path.write_text(dead.replace("dark_probability = 1e-7", "dark_probability = 0.0"))
    code, result = run_json(capsys, "--link", path)
    assert code == 1
    assert result["qber_z"] is None
    assert result["data_factor_needed"] is None
    assert result["asymptotic_rate_per_pulse"] == 0.0
    assert main(["keyrate", "--link", str(path)]) == 1
    assert "No amount of such data" in capsys.readouterr().out


def test_options_override_the_file(capsys, link_file):
    _, base = run_json(capsys, "--link", link_file)
    _, strict = run_json(capsys, "--link", link_file, "--eps-sec", "1e-12", "--f-ec", "1.05")
    assert (strict["eps_sec"], strict["eps_cor"], strict["f_ec"]) == (1e-12, 1e-15, 1.05)
    assert strict["leak_ec_bits"] < base["leak_ec_bits"]
    assert strict["n11_lower"] < base["n11_lower"] * 1.01
    _, loose = run_json(capsys, "--link", link_file, "--eps-cor", "0.5")
    assert loose["key_length_bits"] - base["key_length_bits"] == pytest.approx(49, abs=1)


@needs_real_data
def test_genuine_counts(capsys):
    code, result = run_json(
        capsys, "--counts", REAL, "--eps-sec", 1e-10, "--eps-cor", 1e-15, "--f-ec", 1.16
    )
    facts = json.loads((REAL.parent / f"{REAL.name}.expected.json").read_text())["derived"]
    assert code == 1
    assert result["verdict"] == "no key"
    assert result["key_length_bits"] == 0
    assert result["asymptotic_key_length_bits"] == pytest.approx(1.21e5, rel=0.005)
    assert result["data_factor_needed"] == pytest.approx(3.93, abs=0.01)
    assert result["qber_z"] == pytest.approx(facts["E_ZZ"], rel=1e-12)
    assert result["qber_x"] == pytest.approx(facts["E_XX"], rel=1e-12)
    for name, value in facts.items():
        kind, category = name.lower().split("_")
        table = result["error_rates" if kind == "e" else "gains"]
        assert table[category] == pytest.approx(value, rel=1e-12)


@needs_real_data
def test_report_on_genuine_counts(capsys):
    assert main(["keyrate", "--counts", str(REAL)]) == 1
    out = capsys.readouterr().out
    for words in ("No key", "3.93 times as much", "0.852 %", "35.883 %", "1389721", "121086 bits"):
        assert words in out


def test_report_on_a_link(capsys, link_file):
    assert main(["keyrate", "--link", str(link_file)]) == 0
    out = capsys.readouterr().out
    for words in ("A key of 1419", "1.2232e+09", "0.00800004", "1.501 %", "zz"):
        assert words in out


def test_a_link_with_dead_time_needs_a_clock_and_says_what_it_leaves_out(capsys, tmp_path):
    path = tmp_path / "link.toml"
    spad = "dead_time_s = 2e-8\nafterpulse_probability = 0.01\n"
    path.write_text(LINK + spad)
    assert main(["keyrate", "--link", str(path), "--json"]) == 2
    assert "pulse_rate_hz: found none, with a dead time of 2e-08 s" in capsys.readouterr().err
    assert main(["keyrate", "--link", str(path), "--json", "--pulse-rate", "1e9"]) == 0
    by_option = json.loads(capsys.readouterr().out)
    path.write_text("pulse_rate_hz = 1e9\n" + LINK + spad)
    assert main(["keyrate", "--link", str(path), "--json"]) == 0
    by_file = json.loads(capsys.readouterr().out)
    assert by_file["gains"] == by_option["gains"]
    assert by_file["pulse_rate_hz"] == by_option["pulse_rate_hz"] == 1e9
    assert by_file["left_out"] == ["afterpulses"]
    assert main(["keyrate", "--link", str(path), "--json", "--pulse-rate", "1e6"]) == 0
    slower = json.loads(capsys.readouterr().out)
    assert slower["gains"]["zz"] > 4 * by_file["gains"]["zz"]
    main(["keyrate", "--link", str(path)])
    out = capsys.readouterr().out
    assert "predicted without" in out
    assert "afterpulses" in out


@pytest.mark.parametrize(
    ("option", "value"),
    [("--eps-sec", "0"), ("--eps-sec", "nan"), ("--eps-cor", "1"), ("--f-ec", "0.9")],
)
def test_values_out_of_range(capsys, link_file, option, value):
    assert main(["keyrate", "--link", str(link_file), option, value]) == 2
    err = capsys.readouterr().err
    assert f"{option}: found" in err
    assert "allowed" in err


def test_wrong_files(capsys, tmp_path):
    assert main(["keyrate", "--counts", str(tmp_path / "absent.csv")]) == 2
    assert "absent.csv: No such file" in capsys.readouterr().err
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    assert main(["keyrate", "--counts", str(binary)]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    short = tmp_path / "short.csv"
    short.write_text("0.1, 0.2\n")
    assert main(["keyrate", "--counts", str(short)]) == 2
    assert "short.csv: found 1 lines" in capsys.readouterr().err
    link = tmp_path / "link.toml"
    link.write_text(LINK.replace("efficiency = 0.4", "efficiency = 1.4"))
    assert main(["keyrate", "--link", str(link)]) == 2
    assert "receiver.efficiency: found 1.4" in capsys.readouterr().err


def test_exactly_one_input_is_asked_for(capsys, link_file):
    assert main(["keyrate"]) == 2
    assert main(["keyrate", "--link", str(link_file), "--counts", str(link_file)]) == 2
    assert "not allowed with" in capsys.readouterr().err
