"""Marks of politeness in a reply, of English customer service.

Here belongs what counts as a greeting, thanks and the like. What their rates say belongs to
``measuring``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_ENDS = re.compile(r"(?<=[.!?])\s+")
_ANYWHERE: Mapping[str, re.Pattern[str]] = {
    "thanks": re.compile(r"\b(thank|thanks|grateful|appreciate[ds]?|much obliged)\b", re.I),
    "apology": re.compile(r"\b(sorry|apolog\w+|regret|pardon|forgive)\b", re.I),
    "please": re.compile(r"\b(please|kindly)\b", re.I),
    "exclamation": re.compile(r"!"),
}
_GREETING = re.compile(
    r"^\W*(hello|hi|hey|dear|greetings|welcome|good (day|morning|afternoon|evening))\b", re.I
)
_SIGN_OFF = re.compile(
    r"\b(regards|sincerely|yours|best wishes|respectfully|at your service|take care|cheers"
    r"|have a \w+ (day|evening|weekend|time)|(feel free|hesitate) to)\b",
    re.I,
)

MARKERS = ("greeting", *_ANYWHERE, "sign_off")
"""What is looked for, by the names of the metrics."""


def markers_of(reply: str) -> dict[str, bool]:
    """Of each marker whether the reply has it: a greeting begins it, a sign-off is at its end."""
    last = _ENDS.split(reply.strip())[-1]
    return {
        "greeting": _GREETING.search(reply) is not None,
        **{name: pattern.search(reply) is not None for name, pattern in _ANYWHERE.items()},
        "sign_off": _SIGN_OFF.search(last) is not None,
    }
