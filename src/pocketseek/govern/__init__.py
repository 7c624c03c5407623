"""How much may be used now: pure decisions over facts and figures that the caller passes in."""
