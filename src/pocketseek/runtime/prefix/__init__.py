"""Pages that outlive the sequence that filled them: found again by their tokens, in memory and on disk."""
