"""Explicit-state search: every world that can be reached, and those from which no end can be."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

World = Any
"""One state of everything; may be in a set."""


class StateSpace(ABC):
    """All worlds that can be reached from a first one; a model says how they follow each other."""

    def explore(self, start: World) -> None:
        """Find all worlds; a model does so when it is made."""
        self._calm: dict[World, list[World]] = {}
        todo = deque([start])
        while todo:
            world = todo.popleft()
            if world not in self._calm:
                self._calm[world] = list(self._progress(world))
                todo.extend(self._calm[world])
                todo.extend(self._events(world))

    @property
    def worlds(self):
        return self._calm.keys()

    def stuck(self, goal: Callable[[World], bool]) -> set[World]:
        """Worlds from which progress alone does not come to a goal."""
        good = {world for world in self.worlds if goal(world)}
        before: dict[World, list[World]] = {}
        for world, successors in self._calm.items():
            for successor in successors:
                before.setdefault(successor, []).append(world)
        todo = deque(good)
        while todo:
            for world in before.get(todo.popleft(), ()):
                if world not in good:
                    good.add(world)
                    todo.append(world)
        return self.worlds - good

    @abstractmethod
    def _progress(self, world: World) -> Iterable[World]:
        """What comes of a world by itself."""

    @abstractmethod
    def _events(self, world: World) -> Iterable[World]:
        """What else may come of it: faults, and what programs do."""
