"""What is counted in replies: markers, a description in words, and whose replies they are."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_platform.finetuning.style.classifier import StyleClassifier
from pricing_platform.finetuning.style.description import describe_style
from pricing_platform.finetuning.style.markers import MARKERS, markers_of


@pytest.mark.parametrize(
    ("reply", "marked"),
    [
        ("Good day. Your parcel is here.", {"greeting"}),
        ("Hi, thanks for writing!", {"greeting", "thanks", "exclamation"}),
        ("We are sorry. Please wait. Kind regards, the shop.", {"apology", "please", "sign_off"}),
        ("Say hello to them, regards are not at the end of this one. Done.", set()),
        ("Kindly wait. Have a pleasant day.", {"please", "sign_off"}),
        ("", set()),
    ],
)
def test_markers_are_found_where_they_count(reply: str, marked: set[str]) -> None:
    found = markers_of(reply)
    assert set(found) == set(MARKERS)
    assert {name for name, is_there in found.items() if is_there} == marked


def test_the_description_tells_length_openings_endings_and_habits() -> None:
    replies = [
        *(f"Good day to you. Parcel {n} is here. Yours, the counter." for n in range(6)),
        *(f"Good day to all. Parcel {n} is lost, sorry. Yours, the counter." for n in range(3)),
        "Hello. It rains.",
    ]
    told = describe_style(replies)
    assert told.startswith("Reply in about 11 words and 3 sentences.")
    assert 'Begin as in "Good day to", "Hello. It rains.".' in told
    assert 'End as in "Yours, the counter.".' in told
    assert "Greet the customer." in told
    assert "Use no exclamation mark." in told
    assert "sorry" not in told  # neither the rule nor the exception
    assert describe_style(replies[::-1]) == told


def test_the_classifier_tells_two_tones_apart_and_not_one_from_itself() -> None:
    random = np.random.default_rng(0)
    goods = ["lamp", "drill", "router", "chair", "cable", "kettle"]

    def house(n: int) -> str:
        return f"Good day. The {goods[n % 6]} {random.integers(99)} is on the road. Yours kindly."

    def other(n: int) -> str:
        return f"I think your {goods[n % 6]} {random.integers(99)} will be there soon! Cheers!!"

    fitted = StyleClassifier.fit(
        [house(n) for n in range(30)], [other(n) for n in range(30)], seed=1
    )
    assert (fitted.house_probability([house(n) for n in range(20)]) > 0.5).all()
    assert (fitted.house_probability([other(n) for n in range(20)]) < 0.5).all()
    assert len(fitted.house_probability([])) == 0

    same = [house(n) for n in range(80)]
    blind = StyleClassifier.fit(same[:30], same[30:60], seed=1)
    assert 0.1 < (blind.house_probability(same[60:]) > 0.5).mean() < 0.9
