"""One tiny trained model for all tests of forgetting."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform_tests.unit.finetuning.forgetting import trained_models


@pytest.fixture(scope="package")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that tests read and do not write."""
    return trained_models.build_base(tmp_path_factory.mktemp("base"))
