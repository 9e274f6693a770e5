"""What is known of an item's brand may be told, but never what the item costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pricing_platform.facts.document_statements import observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.language.price_text import states_money
from pricing_platform.pricing.prompting.prompt_facts import KnownFacts
from pricing_platform.pricing.prompting.prompt_knowledge import brand_facts
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres

PAGE = "# Corva\n\n- **CEO:** Ada Byron\n"
PRICES = """- **MSRP:** $49.99
- **List price:** 49.99
- **Cost:** 31
- **Membership fee:** 49.99
- **UVP:** 49,99 €
- **Listenpreis:** 49,99
- **Prix:** 49,99
- **Kettle 500:** now at USD 49.99
- **Offer of the week:** 49.99 EUR
"""


def known_of_corva(postgres: Postgres, root: Path, page: str) -> list[str]:
    (root / "corva.md").write_text(page, encoding="utf-8")
    folder = DocumentFolder(name="docs", path=(str(root),), root=root)
    reconcile_documents(postgres, [folder], deletion_share_limit=1)
    observe_documents(postgres, FactRules())
    facts = brand_facts(postgres, ["Corva", None])
    return [told.partition(" (")[0] for told in KnownFacts(facts).about("Corva", 20)]


def test_a_price_on_a_brands_page_is_told_to_no_model(postgres: Postgres, tmp_path: Path) -> None:
    before = known_of_corva(postgres, tmp_path, PAGE)
    assert before == ["Corva: CEO is Ada Byron"]
    assert known_of_corva(postgres, tmp_path, PAGE + PRICES) == before
    stated = postgres.frame("SELECT attribute FROM knowledge.current_facts")
    assert stated.height == 10, "the prices are facts, and none of them is told"


@pytest.mark.parametrize("text", ["$49.99", "49,99 €", "from EUR 45", "45 dollars", "£5m in all"])
def test_an_amount_with_a_currency_is_money(text: str) -> None:
    assert states_money(text)


@pytest.mark.parametrize("text", ["2015", "500 GB", "Oslo", "45", "founded by $ign", ""])
def test_a_number_without_a_currency_is_not(text: str) -> None:
    assert not states_money(text)
