"""Tokens in, tokens out: the engine, its scheduler, the pages of the KV cache, sampling, and the executors."""
