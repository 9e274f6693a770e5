"""What kinds of facts there are: for how long each is fresh, and what attributes belong to it.

Here belong the rules that need only the name of an attribute, and the names themselves. How values
are recorded belongs to :mod:`pricing_platform.facts.observations`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Literal

import pydantic

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.documents import normalise_subject

DEFAULT_KIND = "specification"
"""The kind of an attribute that no rule names."""

TIME_TO_LIVE: Mapping[str, timedelta | None] = {
    "price": timedelta(days=1),
    "availability": timedelta(hours=6),
    "office_holder": timedelta(days=30),
    DEFAULT_KIND: timedelta(days=180),
    "founding_date": None,
    "document": timedelta(days=30),
}
"""For how long after it was verified a fact of the kind is fresh; None: always."""

KINDS: Mapping[str, str] = {
    r"(?:.* )?(?:prices?|pricing|costs?|msrp|rrp|fees?|tariffs?)": "price",
    r"(?:.* )?\w*(?:preise?|prijs|prijzen|kosten|gebühr(?:en)?|entgelte?)": "price",
    r"(?:.* )?(?:uvp|tarif[es]?|prix|coûts?|frais|precios?|costes?|costos?|tarifas?|prezz[oi]|costi"
    r"|tariff[ae]|preços?|preco|custos?|pris|priser|cen[ay]|opłat[ay]|koszt\w*|hinnat|hinta)": (
        "price"
    ),
    r".*(?:価格|値段|料金)": "price",
    r"price (?:per|from|range) .*|pricing .*|starting at": "price",
    r"(?:.* )?(?:availability|in stock|stock|stock level|lead time)": "availability",
    r"c[a-z]o|(?:vice |co-)?(?:president|chair|chairman|chairwoman|chairperson|founder)": (
        "office_holder"
    ),
    r"(?:job |current )?(?:title|role|position)|job title|manager|reports to|employer": (
        "office_holder"
    ),
    r"(?:head|director|vp|vice president) of .*|chief (?:.* )?officer": "office_holder",
    r"(?:.* )?(?:manager|director|officer|owner|lead)": "office_holder",
    r"founded|established|incorporated|(?:.* )?(?:founding|birth|launch|hire|start) date": (
        "founding_date"
    ),
    r"date of (?:birth|founding|incorporation|hire)|birthday|(?:launch|release) year": (
        "founding_date"
    ),
}
"""Attributes, as regular expressions that match the whole name, and the kinds they belong to."""

MULTI = frozenset(
    {
        "founders",
        "(?:.* )?(?:features|products|services|brands|integrations|skills|languages|awards)",
        "(?:.* )?(?:certifications|partners|customers|investors|offices|locations|competitors)",
        "(?:.* )?(?:benefits|colours|colors|sizes|tags|categories|members|employees|aliases)",
    }
)
"""Attributes, as above, that have any number of values at a time."""

_SYNONYMS: Mapping[str, str] = {
    "chief executive": "ceo",
    "chief executive officer": "ceo",
    "chief technology officer": "cto",
    "chief technical officer": "cto",
    "chief financial officer": "cfo",
    "chief operating officer": "coo",
    "founded in": "founded",
    "founded on": "founded",
    "year founded": "founded",
    "date founded": "founded",
    "founding year": "founded",
    "founding date": "founded",
    "headquartered in": "headquarters",
    "headquarter": "headquarters",
    "hq": "headquarters",
    "birth date": "date of birth",
    "birthdate": "date of birth",
    "dob": "date of birth",
    "e-mail": "email",
    "email address": "email",
    "e-mail address": "email",
    "web site": "website",
}
_LEADING_WORDS = re.compile(r"(?:the|its|their|our|current) (?=\S)")


def normalise_attribute(text: str) -> str:
    """The name under which an attribute is kept: as subjects are, and one name of several.

    ``CEO``, ``the Chief Executive Officer`` and ``chief_executive_officer`` are all ``ceo``.
    Normalising twice changes nothing.
    """
    name = normalise_subject(text.replace("_", " "))
    while leading := _LEADING_WORDS.match(name):
        name = normalise_subject(name[leading.end() :])
    return _SYNONYMS.get(name, name)


def _is_expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


_Expression = Annotated[str, pydantic.AfterValidator(_is_expression)]


class FactRules(pydantic.BaseModel, frozen=True, extra="forbid"):
    """What follows from the name of an attribute.

    What a configuration says of kinds and times to live is added to the defaults and goes before
    them; ``multi`` takes their place. Attributes are regular expressions that match a whole
    normalised name; the first that does decides.
    """

    time_to_live: Mapping[str, timedelta | None] = pydantic.Field({}, validate_default=True)
    multi: frozenset[_Expression] = MULTI
    kinds: Mapping[_Expression, str] = pydantic.Field({}, validate_default=True)

    @pydantic.field_validator("time_to_live")
    @classmethod
    def _over_the_defaults(
        cls, given: Mapping[str, timedelta | None]
    ) -> Mapping[str, timedelta | None]:
        for kind, age in given.items():
            if age is not None and age <= timedelta(0):
                raise ValueError(f"the time to live of {kind!r} has to be longer than none")
        return {**TIME_TO_LIVE, **given}

    @pydantic.field_validator("kinds")
    @classmethod
    def _before_the_defaults(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        return {**given, **{name: kind for name, kind in KINDS.items() if name not in given}}

    @pydantic.model_validator(mode="after")
    def _kinds_are_known(self) -> FactRules:
        for attribute, kind in self.kinds.items():
            if kind not in self.time_to_live:
                raise ValueError(
                    f"attribute {attribute!r} is of the kind {kind!r}, which has no time to live"
                )
        return self

    @pydantic.field_serializer("multi")
    def _in_one_order(self, multi: frozenset[str]) -> list[str]:
        """Fingerprints are of what is written, and a set has another order in every process."""
        return sorted(multi)

    def __hash__(self) -> int:
        return hash((self.multi, *self.kinds.items(), *self.time_to_live.items()))

    def kind_of(self, attribute: str) -> str:
        """The kind of an attribute by its name, normalised or not."""
        name = normalise_attribute(attribute)
        for expression, kind in self.kinds.items():
            if _compiled(expression).fullmatch(name):
                return kind
        return DEFAULT_KIND

    def cardinality_of(self, attribute: str) -> Literal["single", "multi"]:
        """Whether one value of it holds at a time, or any number."""
        name = normalise_attribute(attribute)
        several = any(_compiled(expression).fullmatch(name) for expression in self.multi)
        return "multi" if several else "single"

    def time_to_live_of(self, kind: str) -> timedelta | None:
        """For how long a fact of the kind is fresh; None: always.

        Raises:
            PlatformError: when there is no such kind.
        """
        if kind not in self.time_to_live:
            raise PlatformError(
                f"There is no kind of facts {kind!r}; there are {', '.join(self.time_to_live)}.",
                "Give it a time to live, or use one of these.",
            )
        return self.time_to_live[kind]


@lru_cache(maxsize=1024)
def _compiled(expression: str) -> re.Pattern[str]:
    return re.compile(expression)
