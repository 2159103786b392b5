import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mdiqkd_net.postprocessing.reconcile import _tree
from mdiqkd_net.postprocessing.reconcile._tree import DIFFERENCE, KEY, SPLIT, UPPER_ROWS

N_WORDS = 128
N_BITS = 64 * N_WORDS


@settings(max_examples=60, deadline=None)
@given(s=st.integers(0, 13), place=st.integers(0, N_BITS - 1), seed=st.integers(0, 2**32))
def test_node_parity_counts_the_bits_of_the_interval(s, place, seed):
    tree = np.zeros((2, N_WORDS + UPPER_ROWS, 4), np.uint64)
    words = np.random.default_rng(seed).integers(0, 2**64, N_WORDS, dtype=np.uint64)
    tree[1, :N_WORDS, KEY] = words
    bits = np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")
    start = place >> s << s
    expected = int(bits[start : start + 2**s].sum()) % 2
    assert _tree.node_parity(tree, 1, s, start, N_WORDS) == expected


@settings(max_examples=60, deadline=None)
@given(s=st.integers(0, 13), place=st.integers(0, N_BITS - 1), seed=st.integers(0, 2**32))
def test_check_parity_counts_the_selected_bits_of_the_interval(s, place, seed):
    tree = np.zeros((1, N_WORDS + UPPER_ROWS, 4), np.uint64)
    words, *masks = np.random.default_rng(seed).integers(0, 2**64, (3, N_WORDS), dtype=np.uint64)
    tree[0, :N_WORDS, KEY] = words
    chosen = (words & masks[1]).astype("<u8").view(np.uint8)
    bits = np.unpackbits(chosen, bitorder="little")
    start = place >> s << s
    expected = int(bits[start : start + 2**s].sum()) % 2
    assert _tree.check_parity(tree, np.array(masks), 1, s, start, N_WORDS) == expected


def test_a_clipped_node_ends_with_the_frame():
    tree = np.zeros((1, N_WORDS + UPPER_ROWS, 4), np.uint64)
    tree[0, 100:, KEY] = 1  # behind a frame of 100 words
    tree[0, 99, KEY] = 1
    assert _tree.node_parity(tree, 0, 12, 4096, 100) == 1


class Oracle:
    """Splits and differences in dicts keyed by (s, start)."""

    def __init__(self):
        self.split: set[tuple[int, int]] = set()
        self.difference: dict[tuple[int, int], int] = {}

    def flip(self, s: int, place: int) -> None:
        while s > 0:
            node = (s, place >> s << s)
            self.difference[node] = 1 ^ self.difference.get(node, 0)
            if node not in self.split:
                return
            s -= 1


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_learnt_is_kept_and_flipped_along_the_path(data):
    tree = np.zeros((2, N_WORDS + UPPER_ROWS, 4), np.uint64)
    oracle = Oracle()
    top = data.draw(st.integers(1, 13))
    near = data.draw(st.integers(0, N_BITS - 1))
    places = st.one_of(
        st.integers(0, N_BITS - 1), st.integers(0, 7).map(lambda d: min(near + d, N_BITS - 1))
    )
    for _ in range(40):
        place = data.draw(places)
        if data.draw(st.booleans()):
            s = data.draw(st.integers(1, top))
            start = place >> s << s
            _tree.learn(tree, 1, SPLIT, s, start, 1)
            oracle.split.add((s, start))
            if s > 1:
                for side in (0, 1):
                    value = data.draw(st.integers(0, 1))
                    child = start + (side << (s - 1))
                    _tree.learn(tree, 1, DIFFERENCE, s - 1, child, value)
                    oracle.difference[s - 1, child] = value
        else:
            new = _tree.flip(tree, 1, top, place)
            oracle.flip(top, place)
            assert new == oracle.difference[top, place >> top << top]
    for s in range(1, 14):
        for start in range(0, N_BITS, 2**s):
            assert _tree.known(tree, 1, SPLIT, s, start) == ((s, start) in oracle.split)
            assert _tree.known(tree, 1, DIFFERENCE, s, start) == oracle.difference.get(
                (s, start), 0
            )
    assert not tree[0].any()
