"""Changing what a model does: adapters (LoRA) that are added to it or merged, training them, and smaller students.

Packages themselves are never changed.
"""
