from __future__ import annotations

import pytest

from pricing_platform.catalog.item_set import ItemSet
from pricing_platform_tests.unit.pricing.generated_items import generated_items


@pytest.fixture(scope="session")
def items() -> ItemSet:
    """400 items of 200 families, 320 of them train."""
    return generated_items()
