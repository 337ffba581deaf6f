"""The trusted side: sessions, keyring, inserting, selecting, results."""
