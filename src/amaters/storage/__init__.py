"""Iwato, the storage layer: what is acknowledged survives, what is damaged is reported.

``database`` joins the parts, in memory; ``directory`` in a directory, ``recovery`` opens it.
Commands become durable in a ``log.Log`` (``commitlog`` has those on disks and on an object store)
and change the ``state.State``, by ``apply`` alone; ``versions`` is what readers get of it, and
``snapshots`` what it is made again from. Bulk bytes are in an ``objects.ObjectStore``.

Seams, each a Protocol or a small class passed to a constructor: those three, ``files.Disk`` (every
system call but SQLite's, whose files go through a VFS that can be given),
``snapshots.SnapshotFiles`` and ``coordinator.Coordinator``.
"""
