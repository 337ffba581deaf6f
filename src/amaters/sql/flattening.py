"""A plain SELECT in FROM is part of the query around it: names are put in place, nothing is asked
twice, and no row of it is ever fetched on its own.
"""

from __future__ import annotations

from sqlglot import exp

_PLAIN = {"expressions", "from_", "joins", "where", "kind"}


def flattened(tree: exp.Select) -> exp.Select:
    """``tree`` with the one plain subquery its FROM consists of put in its place, if it is such."""
    source = tree.args.get("from_")
    derived = source.this if source is not None else None
    if not isinstance(derived, exp.Subquery) or tree.args.get("joins") or not derived.alias:
        return tree
    inner = derived.this
    if not isinstance(inner, exp.Select) or not _is_plain(inner) or derived.args.get("sample"):
        return tree
    alias = derived.args["alias"]
    outputs = _outputs(inner)
    if alias.args.get("columns") or outputs is None or not _is_covered(tree, derived, outputs):
        return tree
    return flattened(_merged(tree, inner, derived.alias, outputs))


def _is_plain(inner: exp.Select) -> bool:
    used = {name for name, value in inner.args.items() if value}
    nested = (exp.AggFunc, exp.Window, exp.Select)
    return used <= _PLAIN and not any(
        isinstance(node, nested) for node in inner.walk() if node is not inner
    )


def _outputs(inner: exp.Select) -> dict[str, exp.Expr] | None:
    """Expressions by lower-case name; None where one has no name or a name repeats."""
    found: dict[str, exp.Expr] = {}
    for node in inner.expressions:
        plain = node.this if isinstance(node, exp.Alias) else node
        name = node.alias_or_name.lower()
        if isinstance(plain, exp.Star) or isinstance(plain.this, exp.Star):
            return None
        if not isinstance(node, exp.Alias | exp.Column) or not name or name in found:
            return None
        found[name] = plain
    return found


def _is_covered(tree: exp.Select, derived: exp.Subquery, outputs: dict[str, exp.Expr]) -> bool:
    """Whether every name outside of the subquery is one of its outputs, or an alias of the list."""
    aliases = {node.alias.lower() for node in tree.expressions if isinstance(node, exp.Alias)}
    for node in _names(tree, derived):
        if node.table and node.table.lower() != derived.alias.lower():
            return False
        if node.name.lower() not in outputs and (node.table or node.name.lower() not in aliases):
            return False
    return not any(isinstance(node, exp.Star) for node in tree.expressions)


def _names(tree: exp.Select, derived: exp.Expr) -> list[exp.Column]:
    """The columns named outside of the subquery."""
    inside = {id(node) for node in derived.walk()}
    return [node for node in tree.find_all(exp.Column) if id(node) not in inside]


def _merged(
    tree: exp.Select, inner: exp.Select, name: str, outputs: dict[str, exp.Expr]
) -> exp.Select:
    merged = tree.copy()
    derived = merged.args["from_"].this
    for node in _names(merged, derived):
        written = outputs.get(node.name.lower())
        if written is None:
            continue
        replacement: exp.Expr = written.copy()
        if not isinstance(replacement, exp.Column):
            replacement = exp.Paren(this=replacement)
        if isinstance(node.parent, exp.Select):
            replacement = exp.Alias(this=replacement, alias=exp.to_identifier(node.name))
        node.replace(replacement)
    merged.set("from_", inner.args["from_"].copy())
    if inner.args.get("joins"):
        merged.set("joins", [join.copy() for join in inner.args["joins"]])
    conditions = [
        query.args["where"].this.copy() for query in (inner, merged) if query.args.get("where")
    ]
    if conditions:
        whole = conditions[0]
        for condition in conditions[1:]:
            whole = exp.And(this=exp.Paren(this=whole), expression=exp.Paren(this=condition))
        merged.set("where", exp.Where(this=whole))
    return merged
