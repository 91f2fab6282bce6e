"""stabledreamer debug: what the prior sees and says, as pictures. (placeholder)"""

from typing import Any


def add_parser(subparsers: Any) -> None:
    """Register the subcommand."""
