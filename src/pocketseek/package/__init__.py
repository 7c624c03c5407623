"""The model on disk: manifest, chunks, atomic writer, memory-mapped reader, store of installed models, verification."""
