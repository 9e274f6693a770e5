"""What a training of the platform's own language model read, and what it left out.

Here belongs the record alone; the model card tells it to people.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """Counts of what was read, and the families that were not.

    ``left_out_families`` are those of the train split that no document holds; ``measured_families``
    those of them that the held-out figures are measured on. ``documents`` were rendered,
    ``tokens`` read.
    """

    items: int
    families: int
    knowledge_documents: int
    documents: int
    tokens: int
    left_out_items: int
    left_out_families: list[str]
    measured_families: list[str]
    measured_items: int
