"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Something the user can put right: its text says what was wrong, where, and what to do.

    The command line prints the text as one line and exits with 2; nothing else is caught there.
    """
