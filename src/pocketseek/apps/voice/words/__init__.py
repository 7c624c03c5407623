"""From written to spoken: what a voice says for numbers, dates, units, formulas, in English and Chinese."""
