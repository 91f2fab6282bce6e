"""The exception for mistakes that a user can put right."""

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
