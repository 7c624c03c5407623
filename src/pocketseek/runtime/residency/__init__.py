"""Which weights are in memory, and how the others come there in time: models larger than memory."""
