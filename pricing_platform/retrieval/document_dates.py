"""The date that a document gives itself: in its front matter, a line, its title, name or folder.

A date is written as ISO 8601 has it and as exactly as it is known: ``2026``, ``2026-02`` or
``2026-02-01``. What may mean two days is none. Which documents are compared by their dates is the
business of ``facts.dated_copies``; dates in sentences about events, of ``facts.sentence_facts``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath

DATE_KEYS = (
    *("valid_from", "effective_from", "effective_date", "effective"),
    *("last_updated", "lastupdated", "updated", "updated_at", "lastmod", "last_modified"),
    *("modified", "modified_at", "revised", "date", "published", "published_at", "created"),
)
"""Keys of front matter that date a document; the first that is there counts."""

PAGE_KEYS = (
    *("article:modified_time", "dcterms.modified", "last-modified", "lastmod", "dcterms.date"),
    *("article:published_time", "dc.date", "date"),
)
"""Names of a page's meta elements that do, likewise."""

_FIRST_YEAR, _LAST_YEAR = 1900, 2099
_BARE_YEARS = range(2001, 2050)  # others are as often the number of a model or a standard
_MONTH_LANGUAGES = (
    *("en", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "fi", "pl", "cs", "hu", "ro"),
    "tr",
)
_LINE_LIMIT = 200  # characters

_LABELS = (
    r"(?:valid|effective|in force)(?: date| from| since| as of)?|gültig (?:ab|seit)(?: dem)?"
    r"|in kraft (?:ab|seit)(?: dem)?|en vigueur (?:depuis|le|à partir du)|vigente desde|vigor desde"
    r"|in vigore dal|geldig vanaf|obowiązuje od",
    r"(?:last |date )?(?:updated?|modified|revised|changed)(?: on)?"
    r"|zuletzt (?:geändert|aktualisiert)(?: am)?|letzte (?:änderung|aktualisierung)"
    r"|(?:dernière )?mise? à jour(?: le)?"
    r"|(?:última actualización|actualizado el)|ultimo aggiornamento|laatst bijgewerkt(?: op)?"
    r"|ostatnia aktualizacja|最終更新日",
    r"(?:last |date )?reviewed(?: on)?|(?:as|status) of|date|stand|published(?: on)?|datum|fecha"
    r"|data",
)
"""What a line says before its date: since when it holds, when it was changed, anything else. Of a
text that has several, the first of these counts."""

_LINES = tuple(
    re.compile(
        rf"(?:[-+•] )?(?:{label})[\s:：]+(?P<date>.{{4,40}}?)"
        r"(?: (?:by|von|par|por|da) .{1,60}| r)?\.?",
        re.IGNORECASE,
    )
    for label in _LABELS
)
_FENCE = re.compile(r" {0,3}(?:`{3,}|~{3,})")
_MARKS = re.compile(r"[*_`>#|]+")
_FORMS = tuple(
    re.compile(rf"(?<![\w.])(?:{form})(?!\w|[.:/-]\d)", re.IGNORECASE)
    for form in (
        r"(?P<y>\d{4})(?P<s>[-/. ])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})",
        r"(?P<y>\d{4})[-/](?P<m>\d\d)",
        r"(?P<y>\d{4})(?P<m>\d\d)(?P<d>\d\d)",
        r"(?P<y>\d{4})[-/ ]?q(?P<q>[1-4])",
        r"q(?P<q>[1-4])[-/ ]?(?P<y>\d{4})",
        r"(?P<d>\d{1,2})\.[ ]?(?P<m>\d{1,2})\.[ ]?(?P<y>\d{4})",
        r"(?P<a>\d{1,2})[/-](?P<b>\d{1,2})[/-](?P<y>\d{4})",
        r"(?P<d>\d{1,2})(?:st|nd|rd|th|\.|º|er)?[ -](?:de |of )?(?P<name>[^\W\d_]{3,12})\.?,?"
        r"[ -](?:de )?(?P<y>\d{4})",
        r"(?P<name>[^\W\d_]{3,12})\.?[ -](?P<d>\d{1,2})(?:st|nd|rd|th)?,?[ -](?P<y>\d{4})",
        r"(?P<name>[^\W\d_]{3,12})\.?,?[ -](?:de )?(?P<y>\d{4})",
    )
)
_YEAR = re.compile(r"(?<![\w.:/-])(?P<y>\d{4})(?!\w|[.:/-]\w)")
_TIME = re.compile(r"[T ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\s*(?:Z|UTC|GMT|[+-]\d\d:?\d\d)?$")
_WEEKDAY = re.compile(r"^[^\W\d_]{2,12}\.?, ")
_DATE_FOLDERS = re.compile(
    r"(?:^|/)(?P<y>\d{4})/(?:(?P<m>\d\d)(?:/(?P<d>\d\d))?|q(?P<q>[1-4]))$", re.IGNORECASE
)
_MONTHS_OF_A_YEAR = 12


@dataclass(frozen=True)
class DocumentDate:
    """What dates a document, and what has to be told of it; ``dated`` is None where nothing does.

    ``topic`` is the subject without a date that stands in it: copies of a document share it.
    """

    dated: str | None
    topic: str
    told: tuple[str, ...] = ()


def document_date(
    path: str, title: str, subject: str, content: str, declared: str | None
) -> DocumentDate:
    """The date of a document: what it declares, or else a line of it, its title, name or folder.

    Args:
        path: below the folder of documents, with ``/`` between its parts.
        declared: what its front matter or its page's meta elements say, as it is written.
    """
    told = []
    stem = PurePosixPath(path).stem
    found: dict[str, str] = {}
    if declared and (by_itself := read_date(declared)):
        found["declaration"] = by_itself
    elif declared:
        told.append(f"gives {declared[:40]!r} as its date, which is not one or may be two")
    for place, dated in (
        ("text", _dated_line(content)),
        ("title", _only_date(title)),
        ("name", _only_date(stem)),
        ("folder", _folder_date(path)),
    ):
        if dated:
            found.setdefault(place, dated)
    place, dated = next(iter(found.items()), ("", None))
    for other, differing in found.items():
        if dated and not (dated.startswith(differing) or differing.startswith(dated)):
            told.append(f"is of {dated} by its {place}, not of {differing} as its {other} says")
    return DocumentDate(dated, without_date(subject) or subject, tuple(told))


def read_date(text: str) -> str | None:
    """A text that is a date and nothing else; None where it is not, or may be two dates."""
    text = _WEEKDAY.sub("", _TIME.sub("", text.strip().replace("_", " ")))
    if re.fullmatch(r"\d{4}", text):
        return text if _FIRST_YEAR <= int(text) <= _LAST_YEAR else None
    for form in _FORMS:
        if match := form.fullmatch(text):
            return _iso(match)
    return None


def dates_in(text: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The dates in a text and where they stand, in order; a year alone is one from 2001 on."""
    text, taken = text.replace("_", " "), list[tuple[str, tuple[int, int]]]()
    for form in _FORMS:
        for match in form.finditer(text):
            if not any(start < match.end() and match.start() < end for _, (start, end) in taken):
                dated = _iso(match)
                if dated:
                    taken.append((dated, match.span()))
    for match in _YEAR.finditer(_separated(text)):
        start, end = match.span()
        is_free = not any(start < after and before < end for _, (before, after) in taken)
        if is_free and int(match["y"]) in _BARE_YEARS:
            taken.append((match["y"], match.span()))
    yield from sorted(taken, key=lambda found: found[1])


def is_newer(dated: str | None, other: str | None) -> bool:
    """Whether a date is known to be later than another: 2026-02 is not known to be than 2026."""
    if dated is None or other is None:
        return False
    return dated > other and not dated.startswith(other)


def begins(dated: str) -> datetime:
    """The first moment of a date, in UTC."""
    return datetime.fromisoformat(f"{dated}-01-01"[:10]).replace(tzinfo=UTC)


def ends(dated: str) -> datetime:
    """The first moment after a date, in UTC."""
    first = begins(dated)
    if len(dated) == len("2026-02-01"):
        return first + timedelta(days=1)
    months = 1 if "-" in dated else _MONTHS_OF_A_YEAR
    years, month = divmod(first.month - 1 + months, _MONTHS_OF_A_YEAR)
    return first.replace(year=first.year + years, month=month + 1)


def without_date(subject: str) -> str:
    """The subject without the date that it names, where it names one."""
    if _only_date(subject) is None:
        return subject
    rest = subject
    for _, (start, end) in reversed(list(dates_in(subject))):
        rest = f"{rest[:start].rstrip(' -_(,')} {rest[end:].lstrip(' -_),')}"
    return " ".join(rest.split()).strip(" -:,_")


def _separated(text: str) -> str:
    """A name whose hyphens between letters and digits are spaces: ``returns-2026`` as two words."""
    return re.sub(r"(?<=[^\W\d])-(?=\d)|(?<=\d)-(?=[^\W\d])", " ", text)


def _only_date(text: str) -> str | None:
    """The date in a title or name; none where there are two that do not agree."""
    found = {dated for dated, _ in dates_in(text)}
    longest = max(found, key=len, default=None)
    return longest if longest and all(longest.startswith(dated) for dated in found) else None


def _folder_date(path: str) -> str | None:
    """The date of the nearest folder that has one: ``2026``, ``2026/02/01``, ``archive-2023``."""
    folder = PurePosixPath(path).parent
    while folder.name:
        if (match := _DATE_FOLDERS.search(str(folder))) and (dated := _iso(match)):
            return dated
        if dated := read_date(folder.name) or _only_date(folder.name):
            return dated
        folder = folder.parent
    return None


def _dated_line(content: str) -> str | None:
    """The date of a line that says nothing but since when, or from when, the document is."""
    found: list[set[str]] = [set() for _ in _LINES]
    is_code = False
    for line in content.splitlines():
        is_code ^= bool(_FENCE.match(line))
        if is_code or len(line) > _LINE_LIMIT:
            continue
        told = " ".join(_MARKS.sub(" ", line).replace(" :", ":").split())
        for rank, pattern in enumerate(_LINES):
            match = pattern.fullmatch(told)
            if match and (dated := read_date(match["date"])):
                found[rank].add(dated)
    first = next((dates for dates in found if dates), set())
    return first.pop() if len(first) == 1 else None


def _iso(match: re.Match[str]) -> str | None:
    """A match as an ISO date of its own exactness; None where it is no date, or may be two."""
    part = match.groupdict()
    year, month, day = int(part["y"]), part.get("m"), part.get("d")
    if part.get("q"):
        month = str(3 * int(part["q"]) - 2)
    elif part.get("name"):
        month = _months().get(part["name"].casefold())
    elif part.get("a"):
        first, second = int(part["a"]), int(part["b"])
        if first <= _MONTHS_OF_A_YEAR and second <= _MONTHS_OF_A_YEAR and first != second:
            return None
        month, day = map(str, sorted((first, second)))
    if month is None or not _FIRST_YEAR <= year <= _LAST_YEAR:
        return None if match.re is not _YEAR else f"{year:04}"
    try:
        found = date(year, int(month), int(day or 1))
    except ValueError:
        return None
    return found.isoformat() if day else f"{found:%Y-%m}"


@functools.cache
def _months() -> Mapping[str, str]:
    """Names of months and their numbers; what means two months in two languages is left out."""
    from babel import Locale

    numbers: dict[str, set[str]] = {}
    for language in _MONTH_LANGUAGES:
        for names in Locale(language).months.values():
            for number, name in [*names["wide"].items(), *names["abbreviated"].items()]:
                numbers.setdefault(str(name).casefold().rstrip("."), set()).add(str(number))
    return {name: found.pop() for name, found in numbers.items() if len(found) == 1}
