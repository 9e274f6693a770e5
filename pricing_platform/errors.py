"""The one error that is meant for the person at the keyboard.

Here belongs what every package raises for a user's mistake or a broken surrounding (a missing
file, a wrong password, a full disk). What is a defect of the platform itself stays an ordinary
exception and keeps its traceback.
"""

from __future__ import annotations


class PlatformError(Exception):
    """Bad input or a broken surrounding, told so that the reader knows what to do next.

    ``problem`` says what was wrong and where; ``remedy`` says what to do. Neither holds a secret.
    """

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem}\n{remedy}" if remedy else problem)
        self.problem = problem
        self.remedy = remedy
