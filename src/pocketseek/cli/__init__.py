"""The words the user types: one module per command, and `main`, which turns errors into lines and exit codes."""
