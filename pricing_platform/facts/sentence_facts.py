"""Facts told in sentences: a few patterns that say one thing only, about whom they name.

Here belong the patterns, and what counts as a name. A pattern begins where a sentence begins, so
that neither "if" nor "not" can stand before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from pricing_platform.facts.kinds import normalise_attribute
from pricing_platform.facts.text_structure import (
    ABBREVIATIONS,
    MARKER,
    MONTHS,
    Block,
    Found,
    Statement,
    Text,
    words,
)
from pricing_platform.retrieval.documents import normalise_subject

_SENTENCE_LIMIT = 500

_UPPER = "".join(letter for letter in map(chr, range(0x530)) if letter.isupper())
_WORD = rf"(?:(?:[{_UPPER}]|{'|'.join(sorted(ABBREVIATIONS))})\.|[{_UPPER}][\w'’&-]{{0,40}}(?!\w))"
_NAME = rf"{_WORD}(?: (?:(?:&|of|de|van|von|der|del|di|la|le) )?{_WORD}){{0,5}}"
_PEOPLE = rf"{_NAME}(?:, {_NAME}){{0,5}}(?:,? and {_NAME})?"
_MONTH = "|".join(MONTHS)
_DAY = (
    rf"(?:\d{{1,2}} (?:{_MONTH}) \d{{4}}|(?:{_MONTH}) (?:\d{{1,2}}, )?\d{{4}}"
    r"|\d{4}(?:-\d\d-\d\d)?)"
)
_OFFICE = (
    r"(?:C[A-Z]O|[Cc]hief [A-Za-z]{3,20}(?: [A-Za-z]{3,20})? [Oo]fficer|[Cc]hief [Ee]xecutive"
    r"|[Pp]resident|[Cc]hair(?:man|woman|person)?|[Mm]anaging [Dd]irector|[Gg]eneral [Mm]anager"
    r"|[Hh]ead of [A-Za-z]{2,20})"
)
# What is told of a time in the past ("In 2010, ...") is no fact of the present.
_LEAD = rf"(?:(?:Today|Now|Currently|As of (?:today|now)),? |(?:As of|Since) (?P<since>{_DAY}),? )?"
_PAST_LEAD = r"(?:(?:As of|Since|In) [^,.;:]{1,30}, )?"
_SENTENCES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_LEAD}(?P<holder>{_NAME}) is (?:currently |now |still )?(?:the )?(?:new |current )?"
        rf"(?P<office>{_OFFICE}) (?:of|at) (?P<subject>{_NAME})",
        rf"{_LEAD}[Tt]he (?:new |current )?(?P<office>{_OFFICE}) (?:of|at) (?P<subject>{_NAME})"
        rf" is (?:currently |now |still )?(?P<holder>{_NAME})",
        rf"(?:(?:On|In) (?P<since>{_DAY}),? )?(?P<appointed>{_NAME}) (?:(?:was|has been)"
        rf" (?:appointed|named|promoted to)(?: as)?|became) (?:the )?(?:new )?(?P<office>{_OFFICE})"
        rf" (?:of|at) (?P<subject>{_NAME})(?: (?:on|in|as of|effective) (?P<day>{_DAY}))?",
        rf"(?:(?:On|In) {_DAY},? )?(?P<resigned>{_NAME}) (?:has )?(?:resigned|stepped down|retired)"
        rf" as (?:the )?(?P<office>{_OFFICE}) (?:of|at) (?P<subject>{_NAME})",
        rf"{_PAST_LEAD}(?P<subject>{_NAME}) was (?:co-)?(?:founded|established)"
        rf"(?: (?:in|on) (?P<year>{_DAY}))?(?: by (?P<founder>{_PEOPLE}))?"
        rf"(?: (?:in|on) (?P<founded>{_DAY}))?",
        rf"{_LEAD}(?P<subject>{_NAME}) (?:now |currently )?"
        r"(?:has|employs|is an? [^.,;:]{1,80}? with)"
        r" (?:about |around |some |over |more than )?(?P<count>\d[\d,]{0,10})(?: full-time)?"
        r" (?:employees|people|staff)\b(?! (?:in|at|on|who|there|from)\b)",
        rf"{_LEAD}(?P<subject>{_NAME}) is (?:headquartered|based) in"
        rf" (?P<headquarters>{_NAME}(?:, {_NAME})?)",
    )
)
_ATTRIBUTES = {
    "year": "founded",
    "founded": "founded",
    "founder": "founder",
    "count": "employee count",
    "headquarters": "headquarters",
}
_HOLDERS = ("holder", "appointed", "resigned")
_WORTH_READING = re.compile(
    r"found|establish|employ|people|staff|headquart|based|C[A-Z]O\b|[Cc]hief|resident|[Cc]hair"
    r"|irector|anager|[Hh]ead of"
)
_NO_NAMES = words(
    "If When Unless Whether Although Once Until That This These It He She They We You I Who Which"
    " There No Nobody None Not Neither Suppose As Since In On At Our Its Their His Her A An The"
    " Before After While Perhaps Maybe Former Had Were"
)
_BOUNDARY = re.compile(r"[.!?] ")
_SEPARATOR = re.compile(r",? and |, ")


def sentence_facts(text: Text) -> Iterator[Found]:
    """The facts that sentences of the text tell, about whom they name."""
    for block in text.blocks:
        if block.cells or not any(map(_WORTH_READING.search, text.lines[block.first : block.last])):
            continue
        prose, places = _prose(text, block)
        for start in _sentence_starts(prose):
            for pattern in _SENTENCES:
                if match := pattern.match(prose, start, start + _SENTENCE_LIMIT):
                    yield from _stated(match, places)


def _prose(text: Text, block: Block) -> tuple[str, list[int]]:
    """A paragraph without marks and breaks, and where each of its characters stands."""
    characters, places = [" "], [-1]
    for number in range(block.first, block.last):
        line = text.lines[number]
        marker = MARKER.match(line)
        for column in range(marker.end() if marker else 0, len(line)):
            character = " " if line[column].isspace() else line[column]
            if character not in "*_`" and (character, characters[-1]) != (" ", " "):
                characters.append(character)
                places.append(text.starts[number] + column)
        if characters[-1] != " ":
            characters.append(" ")
            places.append(text.starts[number] + len(line))
    return "".join(characters[1:]), places[1:]


def _sentence_starts(prose: str) -> Iterator[int]:
    yield 0
    for boundary in _BOUNDARY.finditer(prose):
        last_word = prose[max(0, boundary.start() - 6) : boundary.start()].rpartition(" ")[2]
        if last_word not in ABBREVIATIONS and not (len(last_word) == 1 and last_word.isupper()):
            yield boundary.end()


def _stated(match: re.Match[str], places: list[int]) -> Iterator[Found]:
    """What a sentence says, unless what looks like a name in it is none."""
    groups = {group: found for group, found in match.groupdict().items() if found}
    names = [groups[group] for group in ("subject", *_HOLDERS, "founder") if group in groups]
    if not all(map(_is_name, names)) or groups["subject"].endswith(("'s", "’s")):
        return
    subject = normalise_subject(groups["subject"].removeprefix("The "))
    since = _date(groups.get("day") or groups.get("since") or "")
    for group, found in groups.items():
        start, end = places[match.start(group)], places[match.end(group) - 1] + 1
        if group in _HOLDERS:
            yield Found(
                Statement(
                    subject,
                    normalise_attribute(groups["office"]),
                    () if group == "resigned" else (found,),
                    start,
                    end,
                    since,
                ),
                appointed=group == "appointed",
                resigned=found if group == "resigned" else "",
            )
        elif group in _ATTRIBUTES:
            people = tuple(_SEPARATOR.split(found)) if group == "founder" else (found,)
            attribute = "founders" if len(people) > 1 else _ATTRIBUTES[group]
            yield Found(Statement(subject, attribute, people, start, end, since))


def _is_name(text: str) -> bool:
    first, _, rest = text.partition(" ")
    return first not in _NO_NAMES or (first == "The" and bool(rest))


def _date(text: str) -> datetime | None:
    """The first moment of a day, month or year, in UTC."""
    for form in ("%d %B %Y", "%B %d, %Y", "%Y-%m-%d", "%B %Y", "%Y"):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None
