"""Talk with a model: speech in, speech out, everything streaming. See docs/voice.md."""
