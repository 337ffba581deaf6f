"""A statement with its plan, ready to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaters.plan.circuit import CompiledPlan
from amaters.plan.expressions import Select
from amaters.plan.orders import First, order_aggregates
from amaters.plan.recipes import recipe
from amaters.plan.spec import PlanSpec, Term

if TYPE_CHECKING:
    from amaters.plan.refresh import Refresh


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement ready to run.

    ``kind`` public: no ciphertext is read, the client fetches what ``fetch`` selects and finishes
    alone; rows: a mask names the matching slots, which are then fetched; aggregate: encrypted
    totals of ``spec.terms``, and where ``needs_public_rows`` also the rows that ``fetch``
    selects, for totals of public columns. ``constants``: 0/1 scalars to encrypt,
    ``compiled.constant_levels`` their levels. ``first``: of rows, only those that come first
    are fetched. ``refresh``: the filter is asked in parts first (``plan.refresh``); ``spec`` is
    then the plan as a whole and ``compiled`` what runs after the parts, None if nothing does.
    ``considered``: another way that was compared with this one, in words.
    """

    select: Select
    kind: str
    fetch: PlanSpec
    spec: PlanSpec | None = None
    compiled: CompiledPlan | None = None
    constants: tuple[int, ...] = ()
    needs_public_rows: bool = False
    first: First | None = None
    refresh: Refresh | None = None
    considered: str = ""

    @property
    def selects(self) -> bool:
        """Whether an aggregate needs the rows it counts, for its extremes. If conditions on them
        or columns of them are encrypted, they come as ``spec.selection``.
        """
        return self.kind == "aggregate" and bool(order_aggregates(self.select))

    @property
    def terms(self) -> tuple[Term, ...]:
        """All totals of the statement; those without ciphertexts are the client's to compute."""
        return recipe(self.select).terms
