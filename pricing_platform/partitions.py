"""The two ways in which assets are partitioned: by source, and by technique."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import dagster as dg

# One run for many partitions is a beta of Dagster's; the version is pinned.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


def partitions_of(keys: Sequence[str]) -> dg.StaticPartitionsDefinition:
    """The partitions with these keys, in this order."""
    return dg.StaticPartitionsDefinition(list(keys))


def all_partitions(partitions: dg.PartitionsDefinition[str]) -> dict[str, str]:
    """The run tags that select every partition for one run."""
    keys = partitions.get_partition_keys()
    return {RANGE_START: keys[0], RANGE_END: keys[-1]}
