"""`pocketseek adapt`: how a person teaches a model."""
