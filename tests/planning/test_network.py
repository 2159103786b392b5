"""Files of networks: what they mean, and what is refused."""

import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.planning.network import Network
from mdiqkd_net.structs import parse_toml

DEMAND = '[[demand]]\nusers = ["{}", "{}"]\nkeys_per_hour = {}\n'


def test_pairs_meet_at_relays_that_both_reach(network):
    assert network.pairs == [("ann", "ben"), ("ann", "cid"), ("ben", "cid")]
    assert [network.relays_of(pair) for pair in network.pairs] == [
        ["west", "east"],
        ["west"],
        ["west"],
    ]
    link = network.link(("ann", "cid"), "west")
    assert (link.alice.length_km, link.alice.insertion_loss_db, link.bob.length_km) == (20, 1, 15)
    assert link.alice.source == link.bob.source
    assert link.receiver == network.relays["west"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("arms.east = { length_km = 10.0", "arms.nort = { length_km = 10.0",
         "users.ann.arms: found relay 'nort'; allowed: west, east"),
        ("length_km = 15.0", "length_km = -1.0", "users.cid.arms.west.length_km: found -1.0"),
        ("length_km = 15.0", "long = 15.0", "users.cid.arms.west"),
        ("[relays.west]", "[relais.west]", "found unknown key `relais`"),
        ('bell_states = ["psi_minus"]', "bell_states = []", "bell_states: found []"),
        ("[relays.west]", DEMAND.format("ann", "eve", 1) + "[relays.west]",
         "demand[0].users: found ['ann', 'eve']; allowed: two of ann, ben, cid"),
        ("[relays.west]", DEMAND.format("ann", "ann", 1) + "[relays.west]", "found ['ann', 'ann']"),
        ("[relays.west]", DEMAND.format("ann", "ben", 0) + "[relays.west]",
         "keys_per_hour: found 0"),
        ("[relays.west]", (DEMAND.format("ann", "ben", 1) + DEMAND.format("ben", "ann", 1))
         + "[relays.west]", "demand[1].users: found ['ben', 'ann'] again"),
        ("[relays.west]", "[detectors.x]\nefficiency = 2.0\n[relays.west]",
         "detectors.x.efficiency: found 2.0"),
    ],
)  # fmt: skip
def test_files_that_are_refused(network_text, old, new, words):
    assert old in network_text
    with pytest.raises(ConfigError) as refused:
        parse_toml(network_text.replace(old, new, 1), Network, "network.toml")
    assert str(refused.value).startswith("network.toml: ")
    assert words in str(refused.value)


def test_a_network_needs_a_pair_with_a_relay(network_text):
    text = (
        network_text[: network_text.index("[users.ben]")]
        + network_text[network_text.index("[relays.west]") :]
    )
    with pytest.raises(ConfigError, match=r"users: found 1 \(ann\); allowed: 2 or more"):
        parse_toml(text, Network, "network.toml")
    apart = network_text.replace("arms.east", "# arms.east").replace(
        "arms.west = { length_km = 20.0", "# arms.west = { length_km = 20.0"
    )
    # The table must be there, and may be empty.
    apart = apart.replace("[users.cid]", "arms = {}\n[users.cid]").replace(
        "[users.ben]", "arms = {}\n[users.ben]"
    )
    with pytest.raises(ConfigError, match="relays: found none that two users have in common"):
        parse_toml(apart, Network, "network.toml")
