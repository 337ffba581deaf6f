"""Iwato, the storage layer: what is acknowledged survives, what is damaged is reported.

Seams, each a Protocol or a small class passed to a constructor: ``files.Disk`` (every system call),
``log.Log`` (where commands become durable;
``commitlog`` is the one on disks), ``objects.ObjectStore`` (where bulk bytes live),
``state.State`` (a pure function of the commands). ``database`` joins them.
"""
