"""AmateRS: a database that computes on data it cannot read."""

__version__ = "0.1.0"
