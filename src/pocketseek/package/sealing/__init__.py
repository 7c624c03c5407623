"""Sealed packages and data: ciphers, keys, files that are encrypted where they lie and read as if they were plain."""
