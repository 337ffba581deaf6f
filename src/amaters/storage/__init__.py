"""Commit log, state and immutable objects (Iwato)."""
