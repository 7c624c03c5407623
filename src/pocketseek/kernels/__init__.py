"""The arithmetic: what a pass computes, in a compiled core and in plain numpy."""
