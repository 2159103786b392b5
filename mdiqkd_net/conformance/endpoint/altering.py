"""What goes out in place of a peer's sound words."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from mdiqkd_net.wire.messages import Message

M = TypeVar("M", bound=Message)
Alter = Callable[[Message], Sequence[Message]]
"""What goes out in place of a message: itself, another, none, or more."""


def as_it_is(message: Message) -> Sequence[Message]:
    """No change."""
    return (message,)


def instead(kind: type[M], change: Callable[[M], Message | None]) -> Alter:
    """Change every message of a kind; None leaves it out."""

    def alter(message: Message) -> Sequence[Message]:
        if not isinstance(message, kind):
            return (message,)
        changed = change(message)
        return () if changed is None else (changed,)

    return alter


def then_nothing(kind: type[M], change: Callable[[M], Message]) -> Alter:
    """Change the first message of a kind, and say nothing after it.

    Whoever refuses it closes; what we sent behind it would reset the connection, and with it we
    might lose the Error.
    """
    said: list[Message] = []

    def alter(message: Message) -> Sequence[Message]:
        if said:
            return ()
        if not isinstance(message, kind):
            return (message,)
        said.append(message)
        return (change(message),)

    return alter


def without(*kinds: type[Message]) -> Alter:
    """Leave out all messages of these kinds."""
    return lambda message: () if isinstance(message, kinds) else (message,)


def keeping(kind: type[M], kept: list[M]) -> Alter:
    """Keep all messages of a kind back, in `kept`."""
    return instead(kind, kept.append)


def spoiled(tag: bytes) -> bytes:
    """A tag that does not hold."""
    return bytes([tag[0] ^ 1]) + tag[1:]
