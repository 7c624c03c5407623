"""`pocketseek chat` and `generate`: a conversation, or one answer, in the terminal."""
