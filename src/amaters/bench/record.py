"""What a benchmark reports: one record per measured thing, as JSON or as an aligned table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields


@dataclass(slots=True)
class Record:
    """One measurement; a field that means nothing for it is None.

    ``core_us_per_row``: CPU microseconds of the engine per row, all threads together, constants and
    data expanded in memory. ``cold_us_per_row``: the same with stored bytes unpacked and expanded
    first. ``client_us_per_row``: CPU of encrypting constants and decrypting the answer (ingest:
    of encrypting rows). ``limbs``: of the deepest operand. ``peak_mib``: of the whole process.
    """

    name: str
    bits: int | None = None
    rows: int | None = None
    public: bool | None = None
    limbs: int | None = None
    core_us_per_row: float | None = None
    cold_us_per_row: float | None = None
    client_us_per_row: float | None = None
    upload_bytes: int | None = None
    wall_seconds: float | None = None
    peak_mib: float | None = None
    extra: dict[str, object] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """The record as one flat JSON object; floats with four significant digits."""
        found = asdict(self)
        found.update(found.pop("extra"))
        return {key: _short(value) for key, value in found.items()}


def from_json(text: str) -> list[Record]:
    """What ``to_json`` wrote."""
    known = {item.name for item in fields(Record)} - {"extra"}
    found = []
    for plain in json.loads(text):
        extra = {key: value for key, value in plain.items() if key not in known}
        found.append(Record(**{key: plain[key] for key in known}, extra=extra))
    return found


def to_json(records: Sequence[Record]) -> str:
    """A JSON list, one object per record."""
    return json.dumps([record.plain() for record in records], indent=2)


def to_table(records: Sequence[Record]) -> str:
    """Columns that some record fills, right-aligned but for the name."""
    plain = [record.plain() for record in records]
    names = list(dict.fromkeys(key for item in plain for key in item))
    names = [name for name in names if any(item.get(name) is not None for item in plain)]
    rows = [names, *([_text(item.get(name)) for name in names] for item in plain)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(names))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)


def _short(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
