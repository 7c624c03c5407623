"""pocketseek: DeepSeek-family language models on a phone."""

__version__ = "0.1.0"
