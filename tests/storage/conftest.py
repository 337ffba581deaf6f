"""Fixtures of the storage tests."""

from __future__ import annotations

from s3 import bucket, proxy, s3_port

__all__ = ["bucket", "proxy", "s3_port"]
