"""The ledger of calls: which of them failed for a reason that may pass."""

from __future__ import annotations

from typing import get_args

from pricing_platform.language.calls import PASSING_OUTCOMES, CallLedger
from pricing_platform.language.model import Outcome, PriceAnswer, Prompt
from pricing_platform_tests.unit.language.scripted_model import USAGE


def test_failures_that_may_pass_are_counted_by_reason() -> None:
    ledger = CallLedger("a technique", "a model")
    for outcome in get_args(Outcome):
        ledger.record(Prompt(()), PriceAnswer(USAGE, outcome=outcome, reason="once"))
    for _ in range(2):
        ledger.record(Prompt(()), PriceAnswer(USAGE, outcome="server_error", reason="500"))
    found = ledger.passing_failures().rows()
    assert found[0] == ("server_error", "500", 2)
    assert set(found[1:]) == {(outcome, "once", 1) for outcome in PASSING_OUTCOMES}
    lasting = set(get_args(Outcome)) - set(PASSING_OUTCOMES)
    assert lasting == {"answered", "refused", "unusable", "too_long"}


def test_a_ledger_without_failures_has_none() -> None:
    assert CallLedger("a technique", "a model").passing_failures().is_empty()
