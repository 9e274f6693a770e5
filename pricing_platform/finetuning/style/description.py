"""A style in a few words, made of counts over its replies: what a prompt can tell of it.

Here belongs what is counted and how it is said; the same replies give the same words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pricing_platform.finetuning.style.markers import MARKERS, markers_of

_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_OPENINGS, _ENDINGS = 4, 2
_SHARE = 0.04
"""Of the replies that an ending has to have, to be told."""

_OPENING_WORDS = 3
_OFTEN, _SELDOM = 0.5, 0.02
_SAID = {
    "greeting": ("Greet the customer.", "Do not greet."),
    "thanks": ("Thank the customer.", "Do not thank."),
    "apology": ("Say that you are sorry.", "Do not apologise."),
    "please": ("Say please.", "Do not say please."),
    "exclamation": ("Use exclamation marks.", "Use no exclamation mark."),
    "sign_off": ("Sign off at the end.", "Do not sign off."),
}


def describe_style(replies: Sequence[str]) -> str:
    """The length, habits, most frequent openings and endings of replies, as an instruction.

    Args:
        replies: of the training conversations, at least one.
    """
    words = int(np.median([len(reply.split()) for reply in replies]))
    sentences = [_SENTENCE.split(reply) for reply in replies]
    count = int(np.median([len(parts) for parts in sentences]))
    told = [f"Reply in about {words} words and {count} sentence{'s' * (count > 1)}."]
    openings = Counter(" ".join(reply.split()[:_OPENING_WORDS]) for reply in replies)
    told.append(f"Begin as in {_listed(openings, _OPENINGS, 1)}.")
    endings = Counter(parts[-1] for parts in sentences)
    if listed := _listed(endings, _ENDINGS, max(2, _SHARE * len(replies))):
        told.append(f"End as in {listed}.")
    found = [markers_of(reply) for reply in replies]
    for marker in MARKERS:
        share = float(np.mean([at[marker] for at in found]))
        often, seldom = _SAID[marker]
        told += [often] if share >= _OFTEN else [seldom] if share <= _SELDOM else []
    return " ".join(told)


def _listed(counted: Counter[str], most: int, least: float) -> str:
    """The most frequent texts in quotes; equals in alphabetical order."""
    order = sorted(counted.items(), key=lambda at: (-at[1], at[0]))
    return ", ".join(f'"{text}"' for text, count in order[:most] if count >= least)
