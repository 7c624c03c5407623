"""Changing what a model does: adapters (LoRA) that are added to a base model, and merged into it."""
