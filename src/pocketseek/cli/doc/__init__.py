"""`pocketseek doc`: documents, summarised, kept, searched and asked."""
