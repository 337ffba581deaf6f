"""The commit log over preallocated segments: group commit, epochs, witnesses, three backends.

``frames`` is the format, ``segments`` the directory and recovery, ``devices`` and ``uring`` how
bytes become durable, ``core`` the log itself. All backends write the same files, so a database
written by one opens with any other.
"""
