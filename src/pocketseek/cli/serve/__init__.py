"""`pocketseek serve` and `token`: the server, and who may use it."""
