"""What listens and what speaks: one module an engine, the detector of speech, and which of them are used."""
