import math

import pytest

from mdiqkd_net.errors import ConfigError
from mdiqkd_net.scenario.topology import TOPOLOGIES, pairs


def test_a_pair_is_one_pair_with_the_lower_id_first():
    assert pairs("pair", ["bob", "alice"]) == [("alice", "bob")]


@pytest.mark.parametrize("users", [[], ["alice"], ["alice", "bob", "carol"]])
def test_a_pair_has_two_users(users):
    with pytest.raises(ConfigError, match=rf"users: found {len(users)}"):
        pairs("pair", users)


def test_a_star_has_every_pair_once():
    users = ["dave", "bob", "alice", "carol"]
    found = pairs("star", users)
    assert len(found) == len(set(found)) == math.comb(4, 2)
    assert found == sorted(found)
    assert all(low < high and {low, high} <= set(users) for low, high in found)


@pytest.mark.parametrize("name", sorted(TOPOLOGIES))
def test_no_topology_does_with_one_user(name):
    with pytest.raises(ConfigError, match="found 1"):
        pairs(name, ["alice"])


def test_an_unknown_topology_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match='topology: found "ring"; allowed: "pair" or "star"'):
        pairs("ring", ["alice", "bob"])
