"""Changing what a model does: adapters, training them, and smaller students. Packages themselves are never changed."""
