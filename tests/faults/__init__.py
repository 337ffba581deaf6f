"""Disks and SQLite files that record, fail, tear and forget, for the tests of the storage."""
