"""Deltas: a chunk or file of a new version out of those of an older one, in fewer bytes than it has."""
