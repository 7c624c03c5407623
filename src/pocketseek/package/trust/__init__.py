"""Whom this device believes: keys, signatures, who may be used here, and the log of what was done."""
