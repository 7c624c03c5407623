"""Models on the disk: `pull`, `convert`, `export`, `models`, `inspect`, `verify`, `remove`, `update`, `diff` ..."""
