"""Optimising, asking for bits, sweeping, resuming and plotting from the command line."""

import builtins
import json

import pytest
from link_text import LINK
from msgspec.structs import replace

from mdiqkd_net.cli import _spread, main
from mdiqkd_net.errors import ConfigError
from mdiqkd_net.estimation.analysis import Analysis
from mdiqkd_net.planning.task import Task, identity


def ask(capsys, link_file, *arguments):
    """Exit code, rows of JSON, and what was said on stderr."""
    code = main(["keyrate", "--link", str(link_file), *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def ask_one(capsys, link_file, *arguments):
    code, out, _ = ask(capsys, link_file, *arguments)
    return code, json.loads(out, parse_constant=pytest.fail)


def ask_rows(capsys, link_file, *arguments):
    code, out, _ = ask(capsys, link_file, *arguments)
    return code, [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]


def test_an_optimised_link_has_settings_and_more_key(capsys, link_file):
    _, plain = ask_one(capsys, link_file)
    code, best = ask_one(capsys, link_file, "--optimize")
    assert code == 0
    assert best["key_length_bits"] > plain["key_length_bits"]
    assert best["settings"]["alice"] == best["settings"]["bob"]
    assert set(best["settings"]["alice"]) == {"x", "y", "z"}
    assert best["settings"]["alice"]["z"]["probability"] == pytest.approx(0.818, abs=0.01)
    assert best["at_limits"] == []
    assert best["seconds"] > 0.0
    assert best["infinite_decoy_limit_per_pulse"] == pytest.approx(4.3492e-4, rel=2e-4)
    # The settings found, written into a file, give the same key.
    text = LINK
    for letter, old in (("x", "0.04, probability = 0.13"), ("y", "0.16, probability = 0.024")):
        new = best["settings"]["alice"][letter]
        text = text.replace(old, f"{new['intensity']!r}, probability = {new['probability']!r}")
    new = best["settings"]["alice"]["z"]
    text = text.replace(
        "0.5, probability = 0.82", f"{new['intensity']!r}, probability = {new['probability']!r}"
    )
    link_file.write_text(text)
    assert ask_one(capsys, link_file)[1]["key_length_bits"] == best["key_length_bits"]


def test_a_dead_link_is_no_reason_to_fail(capsys, link_file):
    dead = LINK.replace("efficiency = 0.4", "efficiency = 0.0")
    link_file.write_text(dead.replace("dark_probability = 1e-7", "dark_probability = 0.0"))
    code, found = ask_one(capsys, link_file, "--optimize", "--bits", 1)
    assert code == 1
    assert found["pulses_needed"] is None
    assert found["infinite_decoy_limit_per_pulse"] == 0.0


def test_limits_of_a_laboratory(capsys, link_file):
    given = ("--min-intensity", 0.06, "--min-step", 0.15, "--max-intensity", 0.4)
    _, best = ask_one(capsys, link_file, "--optimize", *given)
    _, x, y, z = (0.0, *(best["settings"]["bob"][letter]["intensity"] for letter in "xyz"))
    assert (x, y, z) == pytest.approx((0.06, 0.21, 0.4))
    assert len(best["at_limits"]) == 6


def test_unequal_arms_get_unequal_settings_unless_told(capsys, link_file):
    link_file.write_text(LINK.replace("length_km = 25.0\n[bob]", "length_km = 10.0\n[bob]"))
    _, free = ask_one(capsys, link_file, "--optimize")
    _, equal = ask_one(capsys, link_file, "--optimize", "--equal")
    assert equal["settings"]["alice"] == equal["settings"]["bob"]
    assert free["settings"]["alice"]["x"]["intensity"] < free["settings"]["bob"]["x"]["intensity"]
    assert free["key_length_bits"] > equal["key_length_bits"]
    assert free["infinite_decoy_limit_per_pulse"] >= equal["infinite_decoy_limit_per_pulse"]


def test_how_long_bits_take(capsys, link_file):
    code, found = ask_one(capsys, link_file, "--bits", 256, "--pulse-rate", 1e8)
    assert code == 0
    assert found["key_length_bits"] >= 256
    assert found["n_pulses"] == found["pulses_needed"] < 10**12
    assert found["seconds_needed"] == found["pulses_needed"] / 1e8
    link_file.write_text(LINK.replace("1000000000000", str(int(found["n_pulses"] * 0.999))))
    assert ask_one(capsys, link_file)[1]["key_length_bits"] < 256
    _, best = ask_one(capsys, link_file, "--bits", 256, "--optimize")
    assert best["pulses_needed"] < 0.6 * found["pulses_needed"]
    assert best["key_length_bits"] >= 256


def test_more_bits_than_any_block_gives(capsys, link_file):
    code, found = ask_one(capsys, link_file, "--bits", 10**14)
    assert code == 1
    assert found["pulses_needed"] is None
    assert found["seconds_needed"] is None
    assert found["n_pulses"] == 10**12
    assert main(["keyrate", "--link", str(link_file), "--bits", str(10**14)]) == 1
    assert "No block of up to 1e+15 pulses" in capsys.readouterr().out


def test_a_sweep_has_a_row_with_an_identity_for_each_value(capsys, link_file):
    code, rows = ask_rows(capsys, link_file, "--sweep", "length_km=0:100:50")
    assert code == 0
    assert [row["value"] for row in rows] == [0.0, 50.0, 100.0]
    assert len({row["id"] for row in rows}) == 3
    assert {row["key"] for row in rows} == {"length_km"}
    assert rows[1]["key_length_bits"] == ask_one(capsys, link_file)[1]["key_length_bits"]
    assert rows[0]["rate_per_pulse"] > rows[1]["rate_per_pulse"] > rows[2]["rate_per_pulse"]
    code, rows = ask_rows(capsys, link_file, "--sweep", "n_pulses=1e8:1e9:x10")
    assert code == 1
    assert [row["n_pulses"] for row in rows] == [10**8, 10**9]


@pytest.mark.parametrize("key", ["efficiency", "dark_probability", "misalignment", "mode_overlap"])
def test_sweeps_of_the_receiver(capsys, link_file, key):
    values = "0.9:1.0:0.1" if key in ("efficiency", "mode_overlap") else "0.0:1e-4:1e-4"
    _, rows = ask_rows(capsys, link_file, "--sweep", f"receiver.{key}={values}")
    assert len({row["rate_per_pulse"] for row in rows}) == 2


def test_length_is_split_as_in_the_file(capsys, link_file):
    link_file.write_text(LINK.replace("length_km = 25.0\n[bob]", "length_km = 10.0\n[bob]"))
    base = ask_one(capsys, link_file)[1]["gains"]
    _, rows = ask_rows(capsys, link_file, "--sweep", "length_km=35:35:1")
    assert rows[0]["gains"] == pytest.approx(base, rel=1e-12)


def test_rows_are_not_computed_again(capsys, link_file, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    sweep = ("--sweep", "length_km=40:60:10", "--rows", path)
    _, first = ask_rows(capsys, link_file, *sweep)
    kept = path.read_text()
    assert len(kept.splitlines()) == 3
    # A run that died while it wrote its third row is taken up there.
    lines = kept.splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:50])
    computed = []
    monkeypatch.setattr(
        "mdiqkd_net.planning.task.answer",
        lambda link, task: computed.append(link) or {"key_length_bits": 1} | first[2],
    )
    _, second = ask_rows(capsys, link_file, *sweep)
    assert second == first
    assert [link.alice.length_km for link in computed] == [30.0]
    # Another question about the same link has other identities.
    task = Task(analysis=Analysis())
    assert identity(computed[0], task) != identity(computed[0], replace(task, optimize=True))
    ask_rows(capsys, link_file, *sweep, "--f-ec", 1.2)
    assert len(computed) == 4


@pytest.mark.parametrize("second", ["not json", "[" * 100_000], ids=["no JSON", "lists"])
def test_rows_that_are_none(capsys, link_file, tmp_path, second):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"id": "a"}}\n{second}\n')
    code, _, err = ask(capsys, link_file, "--sweep", "f_ec=1:1:1", "--rows", path)
    assert code == 2
    assert "rows.jsonl:2: found no row of a sweep" in err


def test_progress_is_told_after_two_seconds(capsys, link_file, monkeypatch):
    now = iter([0.0, 1.0, 1.9, 2.1, 2.5, 3.2])
    monkeypatch.setattr(_spread.time, "monotonic", lambda: next(now))
    _, _, err = ask(capsys, link_file, "--sweep", "length_km=0:40:10")
    assert err.splitlines() == [
        "3 of 5 points (length_km = 20), about 1.4 seconds left",
        "5 of 5 points (length_km = 40), about 0 seconds left",
    ]


@pytest.mark.parametrize(
    ("sweep", "words"),
    [
        ("loss=0:1:1", "found key 'loss'; allowed: length_km"),
        ("length_km=0:1", "START:STOP:STEP"),
        ("length_km=0:nan:1", "three numbers"),
        ("length_km=1:0:1", "START <= STOP"),
        ("length_km=0:1:0", "STEP above 0"),
        ("n_pulses=0:1:x2", "0 < START"),
        ("length_km=0:1e9:1", "at most 10000"),
        ("length_km=-10:0:5", "length_km: found -10; allowed"),
        ("receiver.efficiency=0:2:0.5", "receiver.efficiency: found 1.5; allowed"),
    ],
)
def test_sweeps_that_cannot_be(capsys, link_file, sweep, words):
    code, out, err = ask(capsys, link_file, "--sweep", sweep)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--equal",), "--equal: found alone"),
        (("--rows", "x"), "--rows: found alone"),
        (("--bits", "0"), "--bits: found 0"),
        (("--bits", "1", "--pulse-rate", "0"), "--pulse-rate: found 0.0"),
        (("--optimize", "--min-step", "2"), "max_intensity: found 1.0"),
        (("--plot", "x.gif"), "found 'x.gif'; allowed: a name in .png, .svg, .pdf"),
    ],
)
def test_options_that_do_not_go(capsys, link_file, options, words):
    code, _, err = ask(capsys, link_file, *options)
    assert code == 2
    assert words in err


def test_counts_cannot_be_optimised(capsys, link_file):
    assert main(["keyrate", "--counts", str(link_file), "--optimize"]) == 2
    assert "--optimize: found with --counts; allowed: with --link" in capsys.readouterr().err


def test_reports_for_people(capsys, link_file):
    assert main(["keyrate", "--link", str(link_file), "--optimize"]) == 0
    out = capsys.readouterr().out
    for words in ("Settings found", "alice x", "bob z", "No limit touched"):
        assert words in out
    assert main(["keyrate", "--link", str(link_file), "--bits", "1000"]) == 0
    out = capsys.readouterr().out
    assert "1000 bits take" in out
    assert "1.04 minutes at 1e+09 Hz" in out
    assert main(["keyrate", "--link", str(link_file), "--sweep", "length_km=0:50:50"]) == 0
    out = capsys.readouterr().out
    assert "length_km" in out
    assert "1.419e-04" in out


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_plots(capsys, link_file, tmp_path, suffix):
    pytest.importorskip("matplotlib")
    path = tmp_path / f"plot.{suffix}"
    code, rows = ask_rows(
        capsys, link_file, "--sweep", "receiver.dark_probability=1e-8:1e-5:x10", "--plot", path
    )
    assert code == 0
    assert len(rows) == 4
    start = path.read_bytes()[:8]
    assert start.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    if suffix == "svg":
        assert path.read_text().count('id="line2d_') > 10


def test_a_plot_where_there_is_no_key(capsys, link_file, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    sweep = "receiver.misalignment=0.4:0.5:0.1"
    code, _, _ = ask(capsys, link_file, "--sweep", sweep, "--plot", path)
    assert code == 1
    assert path.exists()


@pytest.mark.parametrize("bits", [1000, 10**15])
def test_a_plot_of_times(capsys, link_file, tmp_path, bits):
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    sweep = ("--sweep", "length_km=0:50:25", "--bits", bits, "--pulse-rate", 1e6)
    code, rows = ask_rows(capsys, link_file, *sweep, "--plot", path)
    assert code == (0 if bits == 1000 else 1)
    assert [row["seconds_needed"] is None for row in rows] == [bits > 1000] * 3
    assert path.exists()


def test_a_missing_matplotlib_is_named_before_anything_is_computed(link_file, monkeypatch):
    from mdiqkd_net.cli._plotting import check_plot

    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"extra `plot`: pip install 'mdiqkd-net\[plot\]'"):
        check_plot(link_file.with_suffix(".png"))
