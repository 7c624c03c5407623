"""Measuring the assistant on recordings: turns, times, error rates, understanding."""
