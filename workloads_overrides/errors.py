"""Errors that a user can act on."""


class DataError(RuntimeError):
    """A workload's data cannot be had. The message is one line that says what to do."""
