"""`pocketseek voice`: talk with a model."""
