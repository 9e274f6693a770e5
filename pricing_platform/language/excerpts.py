"""How much of a text is shown where it is context and not what is asked about.

Here belongs cutting a text. Which texts are shown, and how many, belongs to the techniques.
"""

from __future__ import annotations

EXCERPT_CHARACTERS = 150
"""A title and the first attributes: most of what a comparable says, in about 50 tokens."""


def excerpt(text: str, characters: int = EXCERPT_CHARACTERS) -> str:
    """The start of a text, cut between words; at most ``characters`` long.

    A text that is short enough is returned as it is. A first word that is too long is cut itself.
    """
    if len(text) <= characters:
        return text
    kept = text[: characters + 1]
    words_end = max(kept.rfind(" "), kept.rfind("\n"))
    return text[: words_end if words_end > 0 else characters].rstrip()
