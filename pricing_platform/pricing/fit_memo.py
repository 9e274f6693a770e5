"""Remembering what was last fitted on a set of training items.

Several techniques begin with the same fitted features, one after the other in one process. Here
belongs keeping the last of them; nothing here outlives the process.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform.stores.warehouse import fingerprint

_Fitted = TypeVar("_Fitted")
_Rest = ParamSpec("_Rest")


def remember_last(
    fit: Callable[Concatenate[ItemSet, _Rest], _Fitted],
) -> Callable[Concatenate[ItemSet, _Rest], _Fitted]:
    """Makes a fit answer from memory when it is asked again for the same items.

    What is fitted must depend on the items alone, and nobody may change it.
    """
    lock = threading.Lock()
    last: dict[str, _Fitted] = {}

    @wraps(fit)
    def remembered(items: ItemSet, /, *rest: _Rest.args, **named: _Rest.kwargs) -> _Fitted:
        key = items_fingerprint(items)
        with lock:
            if key not in last:
                last.clear()
                last[key] = fit(items, *rest, **named)
            return last[key]

    return remembered


def items_fingerprint(items: ItemSet) -> str:
    """Equal for equal items, with all of their columns and embeddings, in equal order."""
    rows, embeddings = (
        hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
        for array in (items.frame.hash_rows(seed=0).to_numpy(), items.embeddings)
    )
    return fingerprint(items.frame.columns, rows, embeddings)
