import base64
import json
import sqlite3
import stat
import uuid

import pytest
from clerks import node_on
from commits import offer, prepare
from triangle import RECEIVER, SECURITY, SOURCE

from mdiqkd_net.blocks import SecretKey
from mdiqkd_net.cli import main
from mdiqkd_net.keys.records import BlockMeta
from mdiqkd_net.keys.store import KeyStore
from mdiqkd_net.params import Link, UserLink
from mdiqkd_net.planning.prediction import design_of
from mdiqkd_net.protocol.effects import Freeze
from mdiqkd_net.runtime.designs import frozen_path, store_digest
from mdiqkd_net.secret import SecretBuffer


def block_of(n_keys, no=1, *, peer="bob", origin="measured"):
    """A block of alice's, and its bits."""
    block_id = no.to_bytes(16, "big")
    value = bytes((no * 91 + i) & 0xFF for i in range(32 * n_keys))
    meta = BlockMeta(
        block_id=block_id,
        pair=("alice", peer),
        owner="alice",
        peer=peer,
        block_no=no,
        origin=origin,
        eps=1e-10,
        leak_model="none",
    )
    return meta, SecretKey(block_id, 8 * len(value), origin, SecretBuffer.copy_of(value))


def add_block(path, no, *, peer="bob", origin="simulated", offered=True):
    """Put four keys into a store; return their bytes in hex."""
    meta, key = block_of(4, no, peer=peer, origin=origin)
    with KeyStore.open(path) as store:
        prepare(store, meta, key)
        if offered:
            offer(store, meta.block_id)
    return [key.value.view[i : i + 32].hex() for i in range(0, 128, 32)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alice.db"


@pytest.fixture
def run(path, capsys, monkeypatch):
    monkeypatch.setattr(
        "mdiqkd_net.secret.forbid_dumps", lambda: None
    )  # not for the tests' process

    def call(action, *args):
        code = main(["keys", action, "--store", str(path), *args])
        output = capsys.readouterr()
        return code, output.out, output.err

    return call


@pytest.fixture
def node(path):
    """A node on the store, connected to bob, who agrees to everything."""
    with node_on(path, "bob"):
        yield


def test_status_counts_per_peer_and_labels_the_origin(path, run):
    add_block(path, 1)
    add_block(path, 2, offered=False)
    add_block(path, 3, peer="carol", origin="measured")
    code, out, err = run("status")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["peer", "origin", "available", "prepared", "delivered", "bits", "surplus_bits"],
        ["bob", "simulated", "4", "4", "0", "1024", "0"],
        ["carol", "measured", "4", "0", "0", "1024", "0"],
    ]
    code, out, _ = run("status", "--json", "--peer", "carol")
    assert json.loads(out) == [
        {
            "peer": "carol",
            "origin": "measured",
            "available": 4,
            "prepared": 0,
            "delivered": 0,
            "bits": 1024,
            "surplus_bits": 0,
        }
    ]


def test_list_shows_names_and_no_values(path, run):
    values = add_block(path, 1)
    code, out, _ = run("list")
    assert code == 0
    lines = [line.split() for line in out.splitlines()[1:]]
    assert [line[1:7] for line in lines] == [
        ["bob", "simulated", "available", "256", "1", str(i)] for i in range(4)
    ]
    assert all(uuid.UUID(line[0]).version == 8 for line in lines)
    _, as_json, _ = run("list", "--json", "--state", "available", "--peer", "bob")
    rows = json.loads(as_json)
    assert [row["key_id"] for row in rows] == [line[0] for line in lines]
    assert {row["origin"] for row in rows} == {"simulated"}
    # What the leak of its block assumes, and the standing of its proof, go with every key.
    assert {" ".join(line[7:]) for line in lines} == {row["leak_model"] for row in rows}
    assert not any(value in out + as_json for value in values)
    assert run("list", "--state", "delivered")[1:] == ("", "no keys\n")


def test_take_prints_id_origin_and_value_once(path, run, node):
    values = add_block(path, 1)
    code, out, err = run("take", "--peer", "bob", "--allow-simulated")
    assert (code, err) == (0, "")
    name, origin, value = out.split()
    assert (origin, value) == ("simulated", values[0])
    code, out, err = run("take", "--peer", "bob", "--id", name, "--allow-simulated")
    assert (code, out) == (1, "")
    assert f"key {name} is delivered" in err


def test_take_guesses_the_only_peer(path, run, node):
    values = add_block(path, 1, origin="measured")
    assert run("take")[1].split()[1:] == ["measured", values[0]]
    add_block(path, 2, peer="carol")
    code, out, err = run("take")
    assert (code, out) == (2, "")
    assert "allowed: bob, carol" in err


def test_take_by_number_as_json(path, run, node):
    values = add_block(path, 1, origin="measured")
    rows = json.loads(run("take", "--count", "2", "--json")[1])
    assert [row["value"] for row in rows] == [values[0], values[2]]  # those that alice owns


def test_take_by_id_gives_the_peers_keys(path, run):
    values = add_block(path, 1, origin="measured")
    names = [row["key_id"] for row in json.loads(run("list", "--json")[1])]
    (row,) = json.loads(run("take", "--id", names[1], "--json")[1])
    assert (row["key_id"], row["value"], row["origin"]) == (names[1], values[1], "measured")
    code, out, err = run("take", "--id", names[2])
    assert (code, out) == (1, "")
    assert "ours to hand out" in err


def test_without_a_node_the_peer_is_not_asked_and_that_is_said(path, run):
    values = add_block(path, 1, origin="measured")
    code, out, err = run("take")
    assert (code, out.split()[2]) == (0, values[0])
    assert "no node is running on this store: bob is not asked, which is safe as long as" in err


def test_a_node_that_cannot_reach_the_peer_takes_nothing(path, run):
    add_block(path, 1, origin="measured")
    with node_on(path, "bob") as clerks:
        clerks["bob"].away = True
        code, out, err = run("take")
    assert (code, out) == (3, "")
    assert "bob is not connected" in err
    assert json.loads(run("ledger", "--json")[1])[0]["available"] == 1024


def test_more_keys_than_one_request_may_hold(path, run, node):
    with KeyStore.open(path) as store:
        meta, key = block_of(300)
        prepare(store, meta, key)
        offer(store, meta.block_id)
    rows = json.loads(run("take", "--count", "140", "--json")[1])
    assert [row["index"] for row in rows] == list(range(0, 280, 2))


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_take_writes_base64_if_asked(path, run, node, flags):
    values = add_block(path, 1, origin="measured")[::2]
    code, out, _ = run("take", "--count", "2", "--encoding", "base64", *flags)
    assert code == 0
    if flags:
        texts = [row["value"] for row in json.loads(out)]
    else:
        texts = [line.split()[2] for line in out.splitlines()]
    assert [base64.b64decode(text, validate=True).hex() for text in texts] == values[:2]


def test_simulated_keys_are_refused_with_advice(path, run):
    add_block(path, 1)
    code, out, err = run("take")
    assert (code, out) == (2, "")
    assert "simulated" in err
    assert "--allow-simulated" in err
    assert "Traceback" not in err


def test_there_is_a_code_for_no_key(path, run):
    KeyStore.open(path).close()
    assert run("take")[:2] == (1, "")
    add_block(path, 1, origin="measured", offered=False)
    assert run("take")[:2] == (1, "")
    assert run("take", "--count", "5")[:2] == (1, "")
    assert run("status")[0] == 0


def test_too_many_at_once_takes_none(path, run, node):
    add_block(path, 1, origin="measured")
    code, out, err = run("take", "--count", "5")
    assert (code, out) == (1, "")
    assert "2 keys with 'bob' are ours to hand out; asked for 5" in err
    assert json.loads(run("status", "--json")[1])[0]["available"] == 4


@pytest.mark.parametrize("as_json", [False, True])
def test_keys_go_to_a_private_file_and_not_to_the_screen(path, run, node, tmp_path, as_json):
    values = add_block(path, 1)[::2]
    target = tmp_path / "keys.txt"
    flags = ["--json"] if as_json else []
    code, out, _ = run("take", "--count", "2", "--allow-simulated", "--out", str(target), *flags)
    assert code == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert all(value in target.read_text() for value in values[:2])
    assert not any(value in out for value in values)
    assert out.count("simulated") == 2
    if as_json:
        assert [row["value"] for row in json.loads(target.read_text())] == values[:2]


def test_an_existing_file_is_kept_and_no_key_is_lost(path, run, tmp_path):
    add_block(path, 1, origin="measured")
    target = tmp_path / "keys.txt"
    target.write_text("precious")
    code, _, err = run("take", "--out", str(target))
    assert code == 2
    assert "exists already" in err
    assert target.read_text() == "precious"
    assert json.loads(run("status", "--json")[1])[0]["delivered"] == 0


def test_without_a_key_no_file_is_left(path, run, tmp_path):
    add_block(path, 1)
    target = tmp_path / "keys.txt"
    assert run("take", "--out", str(target))[0] == 2
    assert not target.exists()


def test_a_full_disk_confesses_the_loss(path, run, node, tmp_path, monkeypatch):
    add_block(path, 1, origin="measured")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, out, err = run("take", "--out", str(tmp_path / "keys.txt"))
    assert (code, out) == (4, "")
    assert "No space left on device; 1 keys were delivered and are lost" in err


def test_the_ledger_accounts_for_every_bit(path, run, node):
    add_block(path, 1)
    add_block(path, 2, offered=False)
    run("take", "--allow-simulated")
    code, out, err = run("ledger")
    assert (code, err) == (0, "")
    header, row = (line.split() for line in out.splitlines())
    found = dict(zip(header, row, strict=True))
    assert found.pop("peer") == "bob"
    assert found.pop("origin") == "simulated"
    assert found.pop("balances") == "yes"
    made = int(found.pop("made"))
    assert made == 2048 == sum(map(int, found.values()))
    assert (found["prepared"], found["available"], found["delivered"]) == ("1024", "768", "256")
    (as_json,) = json.loads(run("ledger", "--json")[1])
    assert as_json["balances"] is True
    assert run("ledger", "--peer", "carol")[:2] == (0, "")


def test_a_ledger_that_does_not_balance_has_its_code_and_stops_everything_else(path, run):
    add_block(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM keys WHERE number = 2")
    connection.close()
    code, out, _ = run("ledger")
    assert code == 1
    assert out.split()[-1] == "no"
    assert json.loads(run("ledger", "--json")[1])[0]["balances"] is False
    for action in ("status", "take"):
        code, out, err = run(action)
        assert (code, out) == (4, "")
        assert "does not balance; see `mdiqkd keys ledger`" in err


def test_doubts_names_blocks_that_wait_for_the_peer(path, run):
    KeyStore.open(path).close()
    assert run("doubts") == (0, "", "no block is in doubt\n")
    add_block(path, 1)
    add_block(path, 2, offered=False)
    add_block(path, 3, peer="carol", offered=False)
    code, out, err = run("doubts", "--peer", "bob")
    assert (code, err) == (0, "")
    (row,) = out.splitlines()[1:]
    name = (2).to_bytes(16, "big").hex()
    assert row.split()[:7] == [name, "bob", "2", "simulated", "coordinator", "prepared", "4"]
    assert [row["block_no"] for row in json.loads(run("doubts", "--json")[1])] == [2, 3]


def test_burn_says_what_it_costs_and_needs_consent(path, run):
    add_block(path, 1, offered=False)
    name = (1).to_bytes(16, "big").hex()
    code, out, err = run("burn", "--block", name)
    assert (code, out) == (2, "")
    assert "erases 4 keys, 1024 bits, for good, and makes the copies of bob useless" in err
    assert "settle it by themselves as soon as the nodes are connected" in err
    assert json.loads(run("ledger", "--json")[1])[0]["prepared"] == 1024
    code, out, _ = run("burn", "--block", name.upper(), "--yes", "--json")
    assert json.loads(out) == [{"block_id": name, "peer": "bob", "burned": 4}]
    (row,) = json.loads(run("ledger", "--json")[1])
    assert (code, row["prepared"], row["burned"], row["balances"]) == (0, 0, 1024, True)
    for wrong in ("00", "no hex"):
        assert run("burn", "--block", wrong, "--yes")[0] == 1


def test_what_is_asked_for_is_not_burned(path, run):
    add_block(path, 1, origin="measured")
    name = (1).to_bytes(16, "big").hex()
    run("take")
    assert "settle it by themselves" not in run("burn", "--block", name)[2]
    assert run("burn", "--block", name, "--yes")[1].split()[-1] == "3"
    assert run("take")[0] == 1


@pytest.mark.parametrize("action", ["status", "list", "take", "ledger", "doubts"])
def test_a_missing_store_is_an_error_and_is_not_made(path, run, action):
    code, out, err = run(action)
    assert (code, out) == (2, "")
    assert f"{path}: no such key store" in err
    assert list(path.parent.iterdir()) == []


def test_bad_usage_has_its_code(path, run):
    add_block(path, 1)
    assert run("take", "--id", "first")[0] == 2
    assert run("take", "--count", "0")[0] == 2
    assert run("take", "--count", "2", "--id", str(uuid.uuid4()))[0] == 2
    assert main(["keys"]) == 2
    assert main(["keys", "status"]) == 2


def test_an_empty_store_says_so(path, run):
    KeyStore.open(path).close()
    assert run("status") == (0, "", "no keys\n")
    assert run("status", "--json") == (0, "[]\n", "")


@pytest.fixture
def frozen(path, tmp_path):
    """A design in a file, and three blocks of which the last one was frozen with another."""
    user = UserLink(x=SOURCE.x, y=SOURCE.y, z=SOURCE.z, length_km=10.0, attenuation_db_per_km=0.2)
    design = design_of(
        Link(
            n_pulses=10**8,
            alice=user,
            bob=user,
            receiver=RECEIVER,
            eps_sec=SECURITY.eps_sec,
            eps_cor=SECURITY.eps_cor,
            f_ec=SECURITY.f_ec,
            bell_states=("psi_minus", "psi_plus"),
        )
    )
    file = tmp_path / "design.json"
    file.write_bytes(design.canonical())
    for peer, block, digest in (
        ("bob", 1, design.digest()),
        ("carol", 1, design.digest()),
        ("bob", 2, "ab" * 32),
    ):
        store_digest(frozen_path(path), Freeze(("alice", peer), block, bytes(16), digest))
    return file


def test_frozen_designs_are_listed_and_held_against_a_design(run, frozen):
    code, out, _ = run("frozen")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["alice", "bob", "1"],
        ["alice", "carol", "1"],
        ["alice", "bob", "2"],
    ]
    code, out, _ = run("frozen", "--peer", "bob", "--design", str(frozen), "--json")
    assert code == 1
    assert [(row["block"], row["is_this_design"]) for row in json.loads(out)] == [
        (1, True),
        (2, False),
    ]
    assert json.loads(out)[0]["users"] == ["alice", "bob"]
    assert run("frozen", "--block", "1", "--design", str(frozen))[0] == 0
    code, out, err = run("frozen", "--block", "9", "--design", str(frozen))
    assert (code, out, err) == (1, "", "no such block was frozen\n")


def test_a_damaged_list_of_frozen_designs_is_named(run, path, frozen):
    with frozen_path(path).open("ab") as file:
        file.write(b"torn")
    assert run("frozen", "--design", str(frozen), "--peer", "carol")[0] == 0
    frozen_path(path).write_bytes(b"nonsense\n")
    code, _, err = run("frozen")
    assert code == 4
    assert "damaged in line 1" in err


def test_nothing_frozen_is_no_error(run):
    assert run("frozen") == (0, "", "no such block was frozen\n")
