"""Who may open, change or vouch for a model, and how every command asks for a key: `seal`, `sign`, `trust` ..."""
