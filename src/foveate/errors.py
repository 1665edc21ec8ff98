"""Errors that a user can mend. The command line prints them without a traceback and exits 1."""


class FoveateError(Exception):
    """Something is wrong with the input, and the message says what and where."""


class SlideError(FoveateError):
    """One slide cannot be used.

    slide: its name; reason: what is wrong with it; remedy: what the user can do, or "".
    """

    def __init__(self, slide: str, reason: str, remedy: str = "") -> None:
        self.slide, self.reason, self.remedy = slide, reason, remedy
        super().__init__(f"{slide}: {reason}" + (f" ({remedy})" if remedy else ""))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.slide, self.reason, self.remedy)


class SheetError(FoveateError):
    """A table has faults; all of them are listed, one a line, as `file:line: column: what`."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))
