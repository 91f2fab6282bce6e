"""The one exception that stands for a user's mistake, and how it quotes others."""

HEAD, TAIL = 700, 300  # characters kept of a message without end, as of a value from a file


class UserError(Exception):
    """Something the user can put right: its text says what was wrong, where, and what to do.

    The command line prints the text as one line and exits with 2; nothing else is caught there.
    Of a text of over a thousand characters the middle is left out.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]} ... {text[-TAIL:]}"


def first_line(error: BaseException) -> str:
    """What an exception says, as part of a line of ours."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
