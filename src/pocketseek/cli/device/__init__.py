"""`pocketseek device` and `doctor`: what this machine is, and what is wrong with it."""
