"""The certificate from the command line: designs, digests, and the label beside every number."""

import hashlib
import json

import pytest
from link_text import LINK, SETTINGS

from mdiqkd_net.cli import main
from mdiqkd_net.estimation import optimize
from mdiqkd_net.estimation.certificate.check import check_design
from mdiqkd_net.estimation.certificate.design import LABEL, parse_design

CERTIFICATE = ("--method", "certificate")


def ask(capsys, *arguments):
    """Exit code and what was printed; line breaks of tables do not matter."""
    code = main(["keyrate", *map(str, arguments)])
    return code, capsys.readouterr().out


def ask_json(capsys, *arguments):
    code, out = ask(capsys, *arguments, "--json")
    return code, json.loads(out, parse_constant=pytest.fail)


@pytest.fixture
def frozen(capsys, link_file, tmp_path):
    """A design on disk, its digest, and a file with the counts that it was made for."""
    design = tmp_path / "design.json"
    _, result = ask_json(capsys, "--link", link_file, *CERTIFICATE, "--write-design", design)
    counts = {c: round(n) for c, n in result["expected_counts"].items()}
    errors = {c: round(result["expected_errors"][c]) for c in ("xx", "xy", "yx", "yy", "zz")}
    lines = ["n_pulses = 1000000000000"]
    for name, values in (("counts", counts), ("errors", errors)):
        lines += [f"[{name}]", *(f"{c} = {value}" for c, value in values.items())]
    path = tmp_path / "counts.toml"
    path.write_text("\n".join(lines) + f"\n[alice]\n{SETTINGS}[bob]\n{SETTINGS}")
    return design, result["design_sha256"], path


def test_golden_rate_and_label_of_a_link(capsys, link_file):
    code, result = ask_json(capsys, "--link", link_file, *CERTIFICATE)
    assert code == 0
    assert result["rate_per_pulse"] == pytest.approx(1.86086e-4, rel=2e-6)
    assert result["label"] == LABEL
    assert result["constant_bits"] == 118
    assert (result["tail"], result["accounting"]) == (None, "variable")
    for unknown in ("s11_lower", "e11_upper", "n11_lower", "phase_errors_upper"):
        assert result[unknown] is None
    assert result["private_bits"] - result["leak_ec_bits"] - 118 == result["key_length_bits"]
    ledger = result["eps_ledger"]
    assert sum(ledger["constant_bits"].values()) == pytest.approx(118)
    assert ledger["sums"]["statistics"] == pytest.approx(6.25e-22)


def test_the_label_stands_in_the_table_and_in_the_verdict(capsys, link_file):
    code, out = ask(capsys, "--link", link_file, *CERTIFICATE, "--explain")
    assert code == 0
    assert out.splitlines()[-1] == f"A key of 186085864 bits. ({LABEL})"
    assert "standing" in out
    table = " ".join(out[out.index("standing") : out.index("pulse pairs")].split())
    assert table.startswith("standing │ proof published with the code, not yet")
    assert "118.000" in out
    assert "6.25e-22" in out
    code, out = ask(capsys, "--link", link_file)
    assert LABEL not in out
    assert "standing" not in out


def test_the_label_stands_in_every_row_and_under_the_table_of_a_sweep(capsys, link_file):
    sweep = ("--link", link_file, *CERTIFICATE, "--sweep", "length_km=50:100:50")
    _, out = ask(capsys, *sweep)
    assert out.rstrip().endswith(LABEL)
    _, out = ask(capsys, *sweep, "--json")
    assert [json.loads(line)["label"] for line in out.splitlines()] == [LABEL, LABEL]


@pytest.mark.parametrize("more", [(), ("--bits", 1000)])
def test_the_label_stands_in_the_legend_of_a_plot(capsys, link_file, tmp_path, monkeypatch, more):
    axes = pytest.importorskip("matplotlib.axes")
    labels, plot = [], axes.Axes.plot

    def noted(self, *args, **options):
        labels.append(options["label"])
        return plot(self, *args, **options)

    monkeypatch.setattr(axes.Axes, "plot", noted)
    path = tmp_path / "plot.png"
    code, _ = ask(
        capsys, "--link", link_file, *CERTIFICATE, *more,
        "--sweep", "length_km=50:60:10", "--plot", path,
    )  # fmt: skip
    assert code == 0
    assert [label.endswith("\n" + LABEL) for label in labels].count(True) == 1
    assert labels[-1].endswith(LABEL)


def test_a_design_is_written_with_its_digest(capsys, link_file, tmp_path):
    path = tmp_path / "design.json"
    code, out = ask(capsys, "--link", link_file, *CERTIFICATE, "--write-design", path)
    assert code == 0
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in out
    assert parse_design(path.read_bytes()).digest() == digest
    check_design(path.read_bytes())


def test_a_design_for_the_settings_that_were_found(capsys, link_file, tmp_path, monkeypatch):
    monkeypatch.setattr(optimize, "_ITERATIONS", 3)  # a better place, not the best
    path = tmp_path / "design.json"
    _, result = ask_json(
        capsys, "--link", link_file, *CERTIFICATE, "--optimize", "--write-design", path
    )
    assert result["rate_per_pulse"] > 1.9e-4  # 1.86e-4 at the settings of the file
    design = parse_design(path.read_bytes())
    for user, box in (("alice", design.alice), ("bob", design.bob)):
        for letter in "xyz":
            low, high = getattr(box, letter).intensity
            assert low <= result["settings"][user][letter]["intensity"] <= high
    # As they travel between nodes: whole multiples of 1e-9.
    sent = result["settings"]["alice"]["x"]["intensity"] * 1e9
    assert sent == pytest.approx(round(sent), abs=1e-6)


def test_measured_counts_with_the_digest_are_a_key(capsys, frozen):
    design, digest, counts = frozen
    arguments = ("--counts", counts, *CERTIFICATE, "--design", design, "--digest", digest)
    code, result = ask_json(capsys, *arguments)
    assert (code, result["verdict"]) == (0, "key")
    assert result["rate_per_pulse"] == pytest.approx(1.86086e-4, rel=1e-4)
    assert result["label"] == LABEL
    assert (result["design_sha256"], result["digest_given"]) == (digest, True)
    _, out = ask(capsys, *arguments[:-1], digest.upper())
    assert "The digest that was stored before the block was given." in out
    assert out.splitlines()[-1].endswith(f"bits. ({LABEL})")


def test_measured_counts_without_a_digest_are_no_key(capsys, frozen):
    design, digest, counts = frozen
    arguments = ("--counts", counts, *CERTIFICATE, "--design", design)
    code, result = ask_json(capsys, *arguments)
    assert (code, result["verdict"]) == (1, "not frozen, not a key")
    assert (result["design_sha256"], result["digest_given"]) == (digest, False)
    code, out = ask(capsys, *arguments)
    assert code == 1
    assert "NO DIGEST WAS GIVEN" in out
    assert "No key: " in out
    assert "A key of" not in out
    assert out.splitlines()[-1].endswith(f"({LABEL})")


def test_measured_counts_without_a_design_are_no_key(capsys, frozen):
    _, _, counts = frozen
    code, result = ask_json(capsys, "--counts", counts, *CERTIFICATE)
    assert (code, result["verdict"], result["key_length_bits"]) == (1, "no key", 0)
    assert "a design must be frozen before the block" in result["reason"]
    assert result["design_sha256"] is None


def test_another_digest_is_no_key(capsys, frozen):
    design, _, counts = frozen
    code, result = ask_json(
        capsys, "--counts", counts, *CERTIFICATE, "--design", design, "--digest", "0" * 64
    )
    assert (code, result["key_length_bits"]) == (1, 0)
    assert "not the one that was frozen before the block" in result["reason"]


def test_a_file_that_is_no_design(capsys, frozen):
    design, digest, counts = frozen
    design.write_bytes(design.read_bytes().replace(b'"offset":', b'"offset": '))
    arguments = ("keyrate", "--counts", counts, *CERTIFICATE, "--design", design)
    assert main([*map(str, arguments), "--digest", digest]) == 2
    assert "design.json: certificate design: found another encoding" in capsys.readouterr().err
    assert main([*map(str, arguments[:-1]), "nowhere.json"]) == 2
    assert "nowhere.json: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("accounting: found 'linear'", (*CERTIFICATE, "--accounting", "linear")),
        ("tail: found 'poisson'", (*CERTIFICATE, "--tail", "poisson")),
        ("--write-design: found with --method double_scan", ("--write-design", "d.json")),
        ("--design: found without --counts", (*CERTIFICATE, "--design", "d.json")),
        (
            "--write-design: found with a sweep",
            (*CERTIFICATE, "--write-design", "d.json", "--sweep", "length_km=0:10:10"),
        ),
        ("--pulse-rate: found -1.0", ("--pulse-rate", "-1")),
    ],
)
def test_options_that_do_not_go(capsys, link_file, words, options):
    assert main(["keyrate", "--link", str(link_file), *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--digest: found alone", ("--digest", "0" * 64)),
        ("--digest: found 'xyz'; allowed: 64", ("--design", "d.json", "--digest", "xyz")),
        ("--write-design: found without --link", ("--write-design", "d.json")),
    ],
)
def test_options_with_counts_that_do_not_go(capsys, frozen, words, options):
    _, _, counts = frozen
    assert main(["keyrate", "--counts", str(counts), *CERTIFICATE, *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("method", ["double_scan", "certificate"])
def test_how_much_longer_a_key_would_take(capsys, tmp_path, method):
    path = tmp_path / "link.toml"
    path.write_text(LINK.replace("n_pulses = 1000000000000", "n_pulses = 2000000000"))
    arguments = ("--link", path, "--method", method, "--pulse-rate", "1e6")
    code, result = ask_json(capsys, *arguments)
    assert code == 1
    more = (result["data_factor_needed"] - 1.0) * 2e9 / 1e6
    assert result["seconds_more_needed"] == pytest.approx(more)
    words = f"about {float(f'{more / 3600:.2g}' if more >= 7200 else f'{more / 60:.2g}'):g} more"
    assert f"; {words} " in result["reason"]
    _, out = ask(capsys, *arguments)
    assert "at this rate would give a key." in out


def test_a_key_takes_no_more_light(capsys, link_file):
    _, result = ask_json(capsys, "--link", link_file)
    assert "seconds_more_needed" not in result
    _, result = ask_json(capsys, "--link", link_file, "--pulse-rate", "1e9")
    assert (result["seconds_more_needed"], result["reason"]) == (0.0, "")
