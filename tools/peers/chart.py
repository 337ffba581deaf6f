"""A bar chart as SVG, light and dark, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import floor, log10

WIDTH, LEFT, BAR, GAP, TOP = 760, 170, 22, 14, 48
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .grid { stroke: #d0d7de }
  .bar { fill: #8c959f } .ours { fill: #1f6feb }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .grid { stroke: #30363d } }
"""


def figure(value: float) -> str:
    """Three significant digits, thousands with commas."""
    return f"{float(f'{value:.3g}'):,.10g}"


def draw(title: str, bars: Sequence[tuple[str, float]]) -> str:
    """The chart; the first bar is ours."""
    low = floor(log10(min(value for _, value in bars)))
    high = floor(log10(max(value for _, value in bars))) + 1
    height = TOP + len(bars) * (BAR + GAP) + 26

    def x(value: float) -> float:
        return LEFT + (log10(value) - low) / (high - low) * (WIDTH - LEFT - 90)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<text class="title" x="8" y="20">{escape(title)}</text>',
    ]
    for power in range(low, high + 1):
        at = x(10.0**power)
        lines.append(
            f'<line class="grid" x1="{at:.0f}" y1="34" x2="{at:.0f}" y2="{height - 24}"/>'
            f'<text x="{at:.0f}" y="{height - 8}" text-anchor="middle">{10.0**power:,.10g}</text>'
        )
    for index, (name, value) in enumerate(bars):
        y = TOP + index * (BAR + GAP)
        kind = "ours" if index == 0 else "bar"
        wide = max(x(value) - LEFT, 2)
        lines.append(
            f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{wide:.0f}" height="{BAR}" rx="3"/>'
            f'<text x="{LEFT + wide + 6:.0f}" y="{y + 16}">{figure(value)}</text>'
        )
    return "\n".join([*lines, "</svg>", ""])
