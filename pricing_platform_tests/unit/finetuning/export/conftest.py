from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform_tests.unit.finetuning.export.llama_base import write_llama_base


@pytest.fixture(scope="session")
def llama_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama_base(tmp_path_factory.mktemp("base") / "tiny-llama")
