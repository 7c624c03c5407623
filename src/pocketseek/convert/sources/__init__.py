"""Checkpoints as others write them: one reader per file format, all behind the contract in `base.py`."""
