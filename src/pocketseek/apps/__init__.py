"""What people do with a model, without the words they type: the cli room turns these into commands."""
