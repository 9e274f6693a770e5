"""The stores and models as Dagster resources.

Here belongs how a resource is configured and opened. What it can do belongs to the domain.
"""

from pricing_platform.resources.models import ModelsResource
from pricing_platform.resources.progress import LoggedProgress, WatchedProgress
from pricing_platform.resources.stores import PostgresResource, WarehouseResource

__all__ = [
    "LoggedProgress",
    "ModelsResource",
    "PostgresResource",
    "WarehouseResource",
    "WatchedProgress",
]
