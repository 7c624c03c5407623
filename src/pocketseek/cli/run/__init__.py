"""What every command that runs a model asks: which model, on which engine, within which limits."""
