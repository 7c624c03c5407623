"""Words and ids: tokenizers, chat templates, and the way back from generated ids to text."""
