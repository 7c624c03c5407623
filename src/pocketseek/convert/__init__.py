"""Checkpoint in, package out: sources, families, recipe, quantisation, packing, pipeline."""
