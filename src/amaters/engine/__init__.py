"""The service behind the door: catalogue, jobs and caches, everything but sockets."""
