"""What each model family calls its settings and tensors; one file per family behind the contract in `base.py`."""
