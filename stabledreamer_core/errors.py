"""The exception for mistakes that a user can put right, and what was probably meant."""

from collections.abc import Iterable
from difflib import get_close_matches

HEAD, TAIL = 700, 300  # characters kept of a long message, as of a value from a file


class UserError(Exception):
    """A mistake the user can put right; the text says what was wrong, where, and what to do.

    The command line prints the text and exits with 2. Texts of over a thousand characters lose
    their middle.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} ... {text[-TAIL:]}"


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 300 characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def did_you_mean(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return " (did you mean ...?)" with the most similar of `known`, or "" if none is similar."""
    close = get_close_matches(word.lower(), list(known), 1, cutoff)
    return f" (did you mean {close[0]}?)" if close else ""
