import stat

import pytest

from mdiqkd_net.keys.pads import PadFile
from mdiqkd_net.params import MAX_PULSES
from mdiqkd_net.runtime import config as configs
from mdiqkd_net.runtime.designs import analysis_of
from mdiqkd_net.scenario import network
from mdiqkd_net.scenario.network import Network

USERS = ("alice", "bob", "carol")


@pytest.fixture
def star(make_scenario, tmp_path):
    with Network(make_scenario(topology="star", users=USERS), tmp_path / "net") as star:
        yield star


def read_all(network):
    kinds = {"charles": configs.CharlesConfig, "endpoint": configs.EndpointConfig}
    return {n.name: configs.read(n.config, kinds[n.role]) for n in network.nodes}


def bound(network, listen):
    """The address of the socket that a node inherits under `fd://N`."""
    descriptor = int(listen.removeprefix("fd://"))
    (listener,) = [s for node in network.nodes for s in node.sockets if s.fileno() == descriptor]
    return "{}:{}".format(*listener.getsockname())


def test_every_node_reads_its_configuration_and_owns_the_sockets_it_names(star):
    configurations = read_all(star)
    assert set(configurations) == {"charles", *USERS}
    for node in star.nodes:
        config = configurations[node.name]
        named = [config.listen]
        if node.role == "charles":
            named.append(config.device.light_listen)
        assert named == [f"fd://{s.fileno()}" for s in node.sockets]


def test_dialers_get_the_addresses_of_listeners(star):
    configurations = read_all(star)
    charles = configurations["charles"]
    for user in USERS:
        config = configurations[user]
        assert config.relay.node == "charles"
        assert config.relay.address == bound(star, charles.listen)
        assert config.light == bound(star, charles.device.light_listen)
        for peer in config.peers:
            if user > peer.node:
                assert peer.address == bound(star, configurations[peer.node].listen)
            else:
                assert peer.address is None


def test_every_user_has_every_other_as_a_peer(star):
    configurations = read_all(star)
    for user in USERS:
        assert {peer.node for peer in configurations[user].peers} == set(USERS) - {user}


def test_pads_open_for_their_owner_and_peer(star):
    configurations = read_all(star)
    for user in USERS:
        for peer in configurations[user].peers:
            with PadFile.open(star.directory / peer.pads, user, peer.node) as pads:
                assert pads.remaining_send >= network.PADS_PER_BLOCK


def test_secrets_are_for_their_owner_alone(star):
    for path in [*star.directory.rglob("*.key"), *star.directory.rglob("*.pads")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_leaving_closes_all_sockets(make_scenario, tmp_path):
    with Network(make_scenario(), tmp_path / "net") as pair:
        pass
    assert all(s.fileno() == -1 for node in pair.nodes for s in node.sockets)


def test_a_segment_brings_about_a_million_announcements(make_scenario):
    scenario = make_scenario(topology="star", users=USERS)
    segment = network.segment_pulses(scenario)
    busiest = max(network.announcement_rate(scenario, pair) for pair in scenario.pairs)
    assert segment * busiest == pytest.approx(network.SEGMENT_EVENTS, rel=1e-6)


@pytest.mark.parametrize(
    ("n_pulses", "length_km", "expected"),
    [
        (10**5, 10.0, 10**5),  # never more than a block
        (MAX_PULSES, 700.0, network.MAX_SEGMENT_PULSES),  # dark
    ],
)
def test_segments_stay_within_their_limits(write_scenario, n_pulses, length_km, expected):
    from mdiqkd_net.scenario import config

    path = write_scenario(users=("dave", "eve"))
    path.write_text(path.read_text().replace("length_km = 20.0", f"length_km = {length_km}"))
    assert network.segment_pulses(config.read(path, n_pulses=n_pulses)) == expected


def test_designs_are_written_for_every_pair_that_the_certificate_judges(make_scenario, tmp_path):
    scenario = make_scenario(
        topology="star", users=USERS, more='estimation = { method = "certificate" }'
    )
    with Network(scenario, tmp_path / "net") as star:
        configurations = read_all(star)
        digests = {}
        for user in USERS:
            assert configurations[user].estimation.method == "certificate"
            for peer in configurations[user].peers:
                # Whoever reads it checks that its own source and budget fit.
                found = analysis_of(configurations[user], peer, tmp_path)
                digests.setdefault(frozenset((user, peer.node)), set()).add(found.digest)
    assert len(digests) == 3
    assert all(len(found) == 1 for found in digests.values())


def test_other_methods_need_no_design(star):
    assert not (star.directory / "designs").exists()
    peers = read_all(star)["alice"].peers
    assert [peer.design for peer in peers] == [None, None]
