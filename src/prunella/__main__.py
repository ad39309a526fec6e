"""`python -m prunella` is the command `prunella`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
