"""The tables to the last empty cell."""

import itertools

import pytest
from examples import EXAMPLES

from mdiqkd_net.errors import RemoteProtocolError
from mdiqkd_net.protocol.states import MOVES, Role, State, require_legal
from mdiqkd_net.wire.messages import BY_TYPE

CELLS = list(itertools.product(Role, State, BY_TYPE.values()))


EXAMPLE = {type(example): example for example in EXAMPLES}


@pytest.mark.parametrize("role", Role)
def test_everything_off_the_table_is_refused(role):
    refused = [(state, kind) for r, state, kind in CELLS if r is role]
    refused = [cell for cell in refused if cell not in MOVES[role]]
    assert len(refused) + len(MOVES[role]) == len(State) * len(BY_TYPE)
    for state, kind in refused:
        with pytest.raises(RemoteProtocolError, match=rf"{kind.__name__} in state {state.value}"):
            require_legal(role, state, EXAMPLE[kind])


@pytest.mark.parametrize("role", Role)
def test_everything_on_the_table_is_allowed(role):
    for state, kind in MOVES[role]:
        require_legal(role, state, EXAMPLE[kind])


@pytest.mark.parametrize("role", Role)
def test_a_block_that_ended_hears_nothing_and_every_state_can_be_left(role):
    for state in State:
        targets = {s for (at, _), after in MOVES[role].items() if at is state for s in after}
        if state in (State.DONE, State.ABORTED):
            assert not targets
        elif state is State.PREPARED:
            continue  # left by the table of the commit
        elif not (role is Role.COORDINATOR and state is State.EARLY_GATE):
            assert targets - {state}
