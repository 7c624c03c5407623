"""`python -m pocketseek`: the same as the program `pocketseek`."""

import sys

from pocketseek.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
