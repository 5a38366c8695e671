"""`python -m engine` is the command `chalkgrad`."""

import sys

from engine.cli import main

if __name__ == "__main__":
    sys.exit(main())
