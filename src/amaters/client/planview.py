"""What EXPLAIN gives to Python: text that a notebook shows as a tree."""

from __future__ import annotations

from typing import Any

from amaters.client.html import plan_html


class Plan(str):
    """The plan as text in the format asked for; ``document`` holds it as a dictionary."""

    document: dict[str, Any]

    def __new__(cls, text: str, document: dict[str, Any]) -> Plan:
        made = super().__new__(cls, text)
        made.document = document
        return made

    def _repr_html_(self) -> str:
        from amaters.plan.explain_text import as_text

        return plan_html(self.document, as_text(self.document))
