from hypothesis import given
from hypothesis import strategies as st

from pricing_platform.language.excerpts import excerpt


@given(st.text(), st.integers(1, 60))
def test_an_excerpt_is_the_start_of_the_text_and_no_longer_than_asked(
    text: str, characters: int
) -> None:
    found = excerpt(text, characters)
    assert len(found) <= characters
    assert text.startswith(found)


def test_cuts_between_words() -> None:
    assert excerpt("solid oak table\nBrand: Nord", 17) == "solid oak table"
    assert excerpt("solid oak table", 15) == "solid oak table"
    assert excerpt("solid oak table", 14) == "solid oak"


def test_a_word_that_is_too_long_is_cut_itself() -> None:
    assert excerpt("incomprehensibilities", 5) == "incom"
