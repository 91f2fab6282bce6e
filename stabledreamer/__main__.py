"""The command line: `python -m stabledreamer`."""

import sys

from stabledreamer.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
