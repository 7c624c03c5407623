"""`pocketseek bench` and `eval`: figures of speed, heat, memory and quality, and reports of them."""
