"""One statement for many sets of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from amaters.base import errors
from amaters.client.result import Result, Stats
from amaters.columns.batch import concatenate
from amaters.plan.expressions import Insert, Statement

if TYPE_CHECKING:
    from amaters.sql.parser import Parsed


def parsed_change(text: str | Parsed) -> Parsed:
    """The statement, if it changes rows. Raises: InvalidError AM-5040, AM-22xx."""
    from sqlglot import exp

    from amaters.sql.parser import parse_one

    parsed = parse_one(text) if isinstance(text, str) else text
    if parsed.explain is not None or not isinstance(
        parsed.tree, (exp.Insert, exp.Update, exp.Delete)
    ):
        errors.fail("AM-5040", what=f"{parsed.tree.key.upper()}")
    return parsed


def is_insert(parsed: Parsed) -> bool:
    """Whether its rows can go in together: VALUES. What is done about keys that exist may have
    parameters of its own, and a key may be given twice.
    """
    from sqlglot import exp

    tree = parsed.tree
    plain = not tree.args.get("conflict") and not tree.args.get("alternative")
    return isinstance(tree, exp.Insert) and isinstance(tree.expression, exp.Values) and plain


def joined(statements: Sequence[Statement]) -> Insert:
    """One INSERT of the rows of several of the same text."""
    first, *more = [statement for statement in statements if isinstance(statement, Insert)]
    batch = concatenate([first.batch, *(other.batch for other in more)])
    return replace(first, batch=batch)


def total(results: Sequence[Result], stats: Stats) -> Result:
    """What several changes did together."""
    changed = sum(result.changed or 0 for result in results)
    learned = dict.fromkeys(sentence for result in results for sentence in result.learned)
    message = f"changed {changed:,} rows"
    return Result(message=message, learned=tuple(learned), stats=stats, changed=changed)
