"""What a check of the doctor raises."""

from stabledreamer_core.errors import UserError


class Problem(UserError):
    """Something is wrong; `remedy` is one line that says what to do about it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.remedy = remedy
