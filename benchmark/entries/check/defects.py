"""What is wrong with an entry, one line each."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Defect:
    """One defect.

    Attributes:
      path: of the file, relative to the entry; "" is the entry's folder.
      line: in that file, 0 for the whole of it.
      what: is wrong.
      allowed: what would be right; "" where `what` says so.
      fatal: whether the entry breaks a rule; else it is a warning.
    """

    path: str
    line: int
    what: str
    allowed: str = ""
    fatal: bool = True

    def text(self, folder: str) -> str:
        """`path[:line]: what (allowed: ...)`, with paths below `folder`."""
        place = f"{folder}/{self.path}" if self.path else folder
        line = f":{self.line}" if self.line else ""
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{'' if self.fatal else 'warning: '}{place}{line}: {self.what}{allowed}"
