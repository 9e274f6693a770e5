from __future__ import annotations

import pytest

from pricing_platform.stores.warehouse import Warehouse
from pricing_platform_tests.unit.evaluation.evaluated_catalogue import whole_catalogue


@pytest.fixture(scope="session")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """An evaluated catalogue that tests read and do not write."""
    return whole_catalogue(tmp_path_factory.mktemp("evaluated"))
