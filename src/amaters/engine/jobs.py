"""Jobs: a plan checked, its circuit looked up, and its execution turned into a stream of events."""

from __future__ import annotations
