"""Which steps there are between formats, and the shortest chain of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from amaters.base.errors import fail
from amaters.storage.migrations.context import MigrationContext


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: ``run`` stages the files of format ``target`` and commits them."""

    source: int
    target: int
    name: str
    run: Callable[[MigrationContext], None]


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Steps that lead from one format to another; none if they are the same."""

    source: int
    target: int
    steps: tuple[Migration, ...]

    def run(self, context: MigrationContext) -> None:
        """Take every step. A process that dies on the way leaves a directory of one of the
        formats, whole, and the next one plans from there.
        """
        for step in self.steps:
            context.begin(step.target)
            step.run(context)


class MigrationRegistry:
    """Knows the steps and plans chains of them."""

    def __init__(self) -> None:
        self._steps: dict[int, list[Migration]] = {}

    def register(self, step: Migration) -> Migration:
        """Add a step; between two formats there is at most one."""
        known = self._steps.setdefault(step.source, [])
        if any(other.target == step.target for other in known):
            fail("AM-1000", what=f"two migrations from {step.source} to {step.target}")
        known.append(step)
        return step

    def plan(self, source: int, target: int) -> MigrationPlan:
        """The shortest chain, found breadth first; of equal ones that registered first.

        Raises: AM-4040 when there is none.
        """
        chains: dict[int, tuple[Migration, ...]] = {source: ()}
        waiting = deque([source])
        while waiting and target not in chains:
            here = waiting.popleft()
            for step in self._steps.get(here, ()):
                if step.target not in chains:
                    chains[step.target] = (*chains[here], step)
                    waiting.append(step.target)
        if target not in chains:
            fail("AM-4040", found=source, wanted=target)
        return MigrationPlan(source, target, chains[target])
