from pathlib import Path

import pytest

from pricing_platform_tests.unit.language.local.model_folders import FAMILIES, build


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model's folder for each family of tokenizers."""
    root = tmp_path_factory.mktemp("language_models")
    return {family: build(family, root / family) for family in FAMILIES}


@pytest.fixture(params=list(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def folder(folders: dict[str, Path], family: str) -> Path:
    return folders[family]
