"""What the prompt writes to its history file: statements without the constants that are secrets.

A constant stays readable only where it certainly is no value of an encrypted column: it is compared
with a column whose name is public in every known table, it is a LIMIT or OFFSET, or it is the size
of a type. Everything else, and every constant of a statement that does not parse, becomes ``?``.
Comments go.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from prompt_toolkit.history import FileHistory
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import Token, TokenType

from amaters.base import errors
from amaters.cli.points import is_point
from amaters.columns.schema import Table
from amaters.sql.dialect import AmateRS
from amaters.sql.parser import parse

LITERALS = tuple(
    kind
    for kind in TokenType
    if kind in (TokenType.NUMBER, TokenType.TRUE, TokenType.FALSE) or "STRING" in kind.name
)
_COMPARISONS = ("=", "<>", "!=", "<", "<=", ">", ">=", "LIKE")
_SIZED = ("DECIMAL", "NUMERIC", "DEC")
_PLAIN = (".help", ".mode", ".output", ".quit", ".read", ".refresh", ".schema", ".tables", ".timer")
_SCRUBBED = re.compile(r"'[^']*'?|\"[^\"]*\"?|\$.*|[0-9][0-9A-Za-z_.]*", re.DOTALL)

Catalogue = Mapping[str, Table]


class CleanHistory(FileHistory):
    """A history file that only its owner can read, and without secrets."""

    def __init__(self, path: Path, catalogue: Callable[[], Catalogue]) -> None:
        path.touch(mode=0o600)
        path.chmod(0o600)  # also where a file was there before
        super().__init__(str(path))
        self._catalogue = catalogue

    def store_string(self, string: str) -> None:
        super().store_string(clean(string, self._catalogue()))


def clean(text: str, catalogue: Catalogue) -> str:
    """One entry of the prompt as it may be written to disk."""
    word, _, rest = text.strip().partition(" ")
    if word in _PLAIN:
        return text
    if word.lower() in ("explain", ".explain") and is_point(rest):
        return f"{word} {_clean_point(rest)}"
    if is_point(text):
        return _clean_point(text)
    if word.startswith("."):
        return f"{word} {without_secrets(rest, catalogue)}"
    return without_secrets(text, catalogue)


def _clean_point(text: str) -> str:
    """Primary keys are public; what ``set`` assigns may not be."""
    if not text.lower().startswith("set"):
        return text
    try:
        words = shlex.split(text)
    except ValueError:
        return "set ?"
    first = next((index for index, word in enumerate(words) if "=" in word), len(words))
    assigned = [word.partition("=")[0] + "=?" if "=" in word else "?" for word in words[first:]]
    return " ".join([*map(shlex.quote, words[:first]), *assigned])


def without_secrets(text: str, catalogue: Catalogue) -> str:
    """SQL with ``?`` for every constant that could be a value of an encrypted column."""
    try:
        tokens = AmateRS().tokenize(text)
    except TokenError:
        return _SCRUBBED.sub("?", text)
    parses = _parses(text)
    public = _public_names(tokens, catalogue) if parses else frozenset()
    parts: list[str] = []
    position = 0
    for index, token in enumerate(tokens):
        parts.append(_gap(text[position : token.start]))
        secret = token.token_type in LITERALS and not (parses and _harmless(tokens, index, public))
        parts.append("?" if secret else text[token.start : token.end + 1])
        position = token.end + 1
    return "".join([*parts, _gap(text[position:])])


def _gap(between: str) -> str:
    """What stands between two tokens, without comments."""
    return " " if "--" in between or "/*" in between else between


def _parses(text: str) -> bool:
    try:
        parse(text)
    except errors.AmatersError:
        return False
    return True


def _public_names(tokens: Sequence[Token], catalogue: Catalogue) -> frozenset[str]:
    """Lower-case names that mean a public column, whatever table of the text they belong to."""
    words = [token.text.lower() for token in tokens]
    # Tables may not be yet what they will be, or a name may stand for what another SELECT or the
    # select list computes: names of columns tell nothing then.
    several = words.count("select") > 1 or words.count("from") > 1
    if several or not {"create", "alter", "with", "having"}.isdisjoint(words):
        return frozenset()
    columns = [column for table in catalogue.values() for column in table.columns]
    taken = {column.name.lower() for column in columns if column.encrypted}
    taken |= {after for word, after in pairwise(words) if word == "as"}
    return frozenset({column.name.lower() for column in columns} - taken)


def _harmless(tokens: Sequence[Token], index: int, public: frozenset[str]) -> bool:
    """Whether the literal at ``index`` certainly is no value of an encrypted column."""
    before = [token.text.upper() for token in tokens[max(index - 2, 0) : index]]
    if before[-1:] and before[-1] in ("LIMIT", "OFFSET"):
        return True
    if _is_size(tokens, index):
        return True
    after = tokens[index + 1].text if index + 1 < len(tokens) else ""
    if after in ("+", "-", "*", "/", "||"):
        return False
    if len(before) == 2 and before[1] in _COMPARISONS:
        return _names_public(tokens, index - 2, public)
    return False


def _is_size(tokens: Sequence[Token], index: int) -> bool:
    """DECIMAL(9, 2): both numbers."""
    start = index
    while start > 0 and (tokens[start].token_type in LITERALS or tokens[start].text in "(,"):
        start -= 1
    return tokens[start].text.upper() in _SIZED


def _names_public(tokens: Sequence[Token], index: int, public: frozenset[str]) -> bool:
    """Whether a comparison's left side is a public column and nothing more."""
    if tokens[index].text.lower() not in public:
        return False
    before = tokens[index - 1].text.upper() if index else ""
    return before in ("WHERE", "AND", "OR", "NOT", "(", "SET", ",", ".")
