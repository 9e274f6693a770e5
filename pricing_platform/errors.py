"""The errors that are meant for the person at the keyboard.

Here belongs what every package raises for a user's mistake or a broken surrounding (a missing
file, a wrong password, a full disk). What is a defect of the platform itself stays an ordinary
exception and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class PlatformError(Exception):
    """Bad input or a broken surrounding, told so that the reader knows what to do next.

    ``problem`` says what was wrong and where; ``remedy`` says what to do. Neither holds a secret.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy


class ModelNotAskedError(PlatformError):
    """A language model can't be asked, so what depends on it alone goes without its answers."""


@contextmanager
def told_as_not_asked() -> Iterator[None]:
    """Tells what keeps a language model from being opened or asked as a ModelNotAskedError."""
    try:
        yield
    except PlatformError as error:
        raise ModelNotAskedError(error.problem, error.remedy) from error
