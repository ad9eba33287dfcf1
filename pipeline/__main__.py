"""``python -m pipeline``: the command line, under the same hashes every time."""

import sys

from pipeline.hashing import pin_here

if __name__ == "__main__":
    pin_here()
    from pipeline.command_line import main

    sys.exit(main())
