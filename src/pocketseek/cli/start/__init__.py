"""The bare `pocketseek`: from nothing to the first conversation."""
