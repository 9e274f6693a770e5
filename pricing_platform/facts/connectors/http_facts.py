"""Facts that are declared to be had from a web server: the section ``[[http]]``.

Here belong the declaration, its validation, and the series that follow from it. Asking the server
belongs to :mod:`pricing_platform.facts.connectors.http`, which is imported where one is asked: what
it needs takes long to import, and most platforms declare none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

import pydantic

from pricing_platform.facts.kinds import FactRules, normalise_attribute
from pricing_platform.facts.refresh import declare_series, disown_series
from pricing_platform.retrieval.documents import normalise_subject
from pricing_platform.stores.postgres import Postgres

SUBJECT = "{subject}"
"""What stands for the subject in a URL."""

_OURS = frozenset(
    (
        "host",
        "accept-encoding",
        "connection",
        "content-length",
        "transfer-encoding",
        "if-none-match",
        "if-modified-since",
        "range",
    )
)
_HeaderName = Annotated[str, pydantic.StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]


class HttpFacts(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Facts of one attribute that one server states of any number of subjects.

    ``{subject}`` in the path or query of ``url`` stands for the subject, percent-encoded. What is
    stated is what ``json_path`` (RFC 9535) or ``html_selector`` (CSS) finds. ``headers`` may hold
    secrets, written as ``${NAME}`` of PRICING_HTTP_SECRETS; the URL may not, for it is shown.
    ``timeout_seconds`` is for a whole request, redirects included. A host whose addresses are
    private is asked only where ``allowed_private_hosts`` names it.
    """

    name: str = pydantic.Field(pattern=r"^[a-z0-9_]+$")
    subjects: tuple[str, ...] = pydantic.Field(min_length=1)
    attribute: str = pydantic.Field(min_length=1)
    kind: str | None = None
    url: str
    json_path: str | None = None
    html_selector: str | None = None
    headers: Mapping[_HeaderName, pydantic.SecretStr] = {}
    timeout_seconds: float = pydantic.Field(10, gt=0, le=120)
    max_bytes: int = pydantic.Field(1_000_000, gt=0, le=100_000_000)
    concurrency: int = pydantic.Field(8, gt=0, le=64)
    allowed_private_hosts: frozenset[str] = frozenset()

    @property
    def connector(self) -> str:
        """What ``fact_series.connector`` holds, and observations name as their source."""
        return f"http:{self.name}"

    @pydantic.field_validator("subjects")
    @classmethod
    def _subjects_have_names(cls, subjects: tuple[str, ...]) -> tuple[str, ...]:
        for subject in subjects:
            if not normalise_subject(subject):
                raise ValueError(f"the subject {subject!r} has no letter or digit")
        return subjects

    @pydantic.field_validator("url")
    @classmethod
    def _url_names_a_host(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the URL has to begin with https:// or http:// and a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the URL holds a user or password; give it as a header")
        if SUBJECT in parts.netloc:
            raise ValueError(f"{SUBJECT} may stand in the path and the query, not in the host")
        import httpx2

        try:
            httpx2.URL(url.replace(SUBJECT, "x"))
        except httpx2.InvalidURL as error:
            raise ValueError(f"it is not a URL: {error}") from None
        return url

    @pydantic.field_validator("json_path")
    @classmethod
    def _json_path_is_one(cls, path: str | None) -> str | None:
        if path is None:
            return None
        import jsonpath

        try:
            jsonpath.compile(path)
        except jsonpath.JSONPathError as error:
            raise ValueError(f"{path!r} is not a JSON path: {error}") from None
        return path

    @pydantic.field_validator("html_selector")
    @classmethod
    def _html_selector_is_one(cls, selector: str | None) -> str | None:
        if selector is None:
            return None
        import soupsieve

        try:
            soupsieve.compile(selector)
        except soupsieve.SelectorSyntaxError:
            raise ValueError(f"{selector!r} is not a CSS selector") from None
        return selector

    @pydantic.field_validator("headers")
    @classmethod
    def _headers_are_not_ours(
        cls, headers: Mapping[str, pydantic.SecretStr]
    ) -> Mapping[str, pydantic.SecretStr]:
        for name in headers:
            if name.lower() in _OURS:
                raise ValueError(f"the header {name} is set by the request itself")
        return headers

    @pydantic.field_validator("allowed_private_hosts")
    @classmethod
    def _hosts_in_small_letters(cls, hosts: frozenset[str]) -> frozenset[str]:
        return frozenset(host.casefold() for host in hosts)

    @pydantic.model_validator(mode="after")
    def _one_way_to_read(self) -> Self:
        if (self.json_path is None) == (self.html_selector is None):
            raise ValueError("it needs either json_path or html_selector")
        if len(self.subjects) > 1 and SUBJECT not in self.url:
            raise ValueError(f"the URL needs {SUBJECT}, for there are several subjects")
        return self


def ensure_series(postgres: Postgres, declared: Iterable[HttpFacts], rules: FactRules) -> int:
    """Has the series that are declared, due at once where they are new; returns how many are.

    These are all that are asked for over HTTP: what was declared before and is not any more keeps
    its facts, and is left alone.

    Raises:
        PlatformError: when a kind is named that there is none of.
    """
    declared = list(declared)
    kept = {
        facts.connector: [
            (normalise_subject(subject), normalise_attribute(facts.attribute))
            for subject in facts.subjects
        ]
        for facts in declared
    }
    disown_series(postgres, kept)
    return sum(
        declare_series(
            postgres,
            facts.connector,
            [(subject, facts.attribute) for subject in facts.subjects],
            rules,
            kind=facts.kind,
        )
        for facts in declared
    )
