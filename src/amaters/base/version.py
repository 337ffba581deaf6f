"""The version, below everything that states it in a handshake."""

VERSION = "0.1.0"
