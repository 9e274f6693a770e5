"""What a document states: facts read from its structure and from a few safe sentences.

Here belongs reading, which is the same every time and executes nothing: text is data. Which source
said what at which time belongs to :mod:`pricing_platform.facts.documents`, what kind of fact an
attribute is to :mod:`pricing_platform.facts.kinds`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from markdown_it import MarkdownIt

from pricing_platform.facts.kinds import normalise_attribute
from pricing_platform.retrieval.documents import Document, normalise_subject

VALUE_LIMIT = 200
"""Characters of a value: what is longer is a clause, not a value."""

LINE_LIMIT = 10_000
"""Characters of a line that is read: nobody wrote a longer one."""

_RAW_LIMIT = 2 * VALUE_LIMIT
_TOP_LEVEL = 1  # of a paragraph in no list
_SENTENCE_LIMIT = 500


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


@dataclass(frozen=True)
class Statement:
    """A fact as a document states it.

    ``values`` are cleaned of Markdown; there are none where the document says that nothing holds
    any more, as after a resignation. ``content[start_character:end_character]`` is where it is
    said, as it is written. ``valid_from`` is since when it holds, where the text has a date.
    """

    subject: str
    attribute: str
    values: tuple[str, ...]
    start_character: int
    end_character: int
    valid_from: datetime | None = None


@dataclass(frozen=True)
class _Found:
    """A statement, and how it stands against others of the same attribute."""

    statement: Statement
    appointed: bool = False
    resigned: str = ""


def extract(document: Document) -> list[Statement]:
    """The facts that a document states, in the order of their places in it.

    Read are lines of ``**Key:** value`` (in lists too), definition lists, tables of two columns and
    sentences such as "Y was founded by X in 2015". Keyed facts are about the document's subject,
    sentences about whom they name. A key that is a date or a tier says nothing alone and is put
    behind its heading: ``compensation history 2020``, ``pricing basic tier``. Values of more than
    200 characters and lines of more than 10,000 are passed over.

    Of several statements of one attribute of one subject the first wins. Office-holders are the
    exception: who holds an office wins over who was appointed to it, of those the one appointed
    last wins, and who resigned from it holds it no longer.
    """
    text = _Text(document.content)
    found = list(_told(text))
    if document.subject:
        found += _keyed(text, document.subject)
    return sorted(_decided(found), key=lambda at: (at.start_character, at.attribute))


def _decided(found: list[_Found]) -> Iterator[Statement]:
    """One statement for each attribute of each subject."""
    by_series: dict[tuple[str, str], list[_Found]] = {}
    for at in found:
        by_series.setdefault((at.statement.subject, at.statement.attribute), []).append(at)
    for same in by_series.values():
        resigned = {at.resigned.casefold() for at in same if at.resigned}
        holding = [
            at
            for at in same
            if not at.resigned
            and not resigned.intersection(value.casefold() for value in at.statement.values)
        ]
        yield min(holding or [at for at in same if at.resigned], key=_precedence).statement


def _precedence(at: _Found) -> tuple[bool, float, int]:
    since = at.statement.valid_from
    newest = -since.timestamp() if at.appointed and since else 0.0
    return at.appointed, newest, at.statement.start_character


# The structure of a text: paragraphs and rows of tables, with the headings above them.


@dataclass
class _Block:
    """Lines of a paragraph, or one row of a table.

    ``level`` is how deep it lies in lists. ``cells`` are those of a row, ``header`` those of its
    table's first row.
    """

    first: int
    last: int
    heading: str
    level: int = 0
    cells: tuple[str, ...] = ()
    header: tuple[str, ...] = ()


@dataclass
class _Text:
    """A content, its lines as they are read (of equal length, if not too long), its blocks."""

    content: str
    lines: list[str] = field(init=False)
    starts: list[int] = field(init=False)
    blocks: list[_Block] = field(init=False)

    def __post_init__(self) -> None:
        self.lines, self.starts, start = [], [], 0
        for line in self.content.split("\n"):
            self.lines.append("" if len(line) > LINE_LIMIT else line.replace("\r", " "))
            self.starts.append(start)
            start += len(line) + 1
        self.blocks = list(_blocks("\n".join(self.lines)))


_STRUCTURE = MarkdownIt("commonmark").enable("table").disable("inline")
_INLINE = MarkdownIt("commonmark")


def _blocks(text: str) -> Iterator[_Block]:
    """The paragraphs and rows of a text; a first-level heading at its beginning is its title."""
    heading, begun, level, kind = "", False, 0, ""
    cells: list[str] = []
    header: tuple[str, ...] = ()
    for token in _STRUCTURE.parse(text):
        if token.type == "heading_open":
            kind, level = "heading", int(token.tag[1])
        elif token.type == "table_open":
            header, begun = (), True
        elif token.type == "tr_open":
            kind, cells = "row", []
        elif token.type == "tr_close" and token.map is None:
            header = header or tuple(cells)
        elif token.type == "paragraph_open":
            kind, begun = "paragraph", True
        if token.type != "inline" or token.map is None:
            continue
        if kind == "heading":
            heading = token.content if begun or level > 1 else ""
        elif kind == "row":
            cells.append(token.content)
            if header and len(cells) == len(header) == 2:
                yield _Block(token.map[0], token.map[0] + 1, heading, 0, tuple(cells), header)
        else:
            yield _Block(token.map[0], token.map[1], heading, token.level)


@lru_cache(maxsize=4096)
def _plain(markdown: str) -> str:
    """Inline Markdown without its marks, in one line."""
    children = _INLINE.parseInline(markdown)[0].children or []
    return " ".join(
        "".join(
            token.content if token.type in ("text", "code_inline") else " " * (not token.nesting)
            for token in children
        ).split()
    )


# Keyed facts.

_MARKER = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?")
_KEY = re.compile(
    r"(?P<mark>\*\*|__)(?P<key>[^\n*_:]{1,80})(?::(?P=mark)|(?P=mark)[ \t]{0,9}:)[ \t]*"
)
_BOLD = re.compile(r"\*\*(?P<name>[^\n*:]{1,80})(?::?\*\*)[ \t]*")
_DEFINITION = re.compile(r"[ \t>]*:[ \t]+")
_HARD_BREAK = re.compile(r"(?:  |\\)$")
_ENDS_VALUE = re.compile(r"[ \t>]*(?:[*_]|:[ \t])")

_MONTHS = calendar.month_name[1:]
_PERIOD_WORDS = _words(
    "sept present today now to since until spring summer autumn fall winter year month and fy"
).union(*((name.casefold(), name[:3].casefold()) for name in _MONTHS))
_PERIOD_PART = re.compile(r"\d{1,4}|(?:fy|q|h)\d{1,4}")
_TIERS = _words("tier plan edition package level grade class option membership subscription")
_PRICES = _words("price pricing fee cost")
_GENERIC = _words("name title date signature signed by place")
"""Keys that say nothing without what stands above them."""
_NO_HEADING = _words(
    "attribute detail details fact field item key property specification value information"
) | {""}
_HEADCOUNT = frozenset({"employees", "number of employees", "headcount", "staff"})
_AMOUNT = re.compile(
    r"(?:(?:starting at|starts at|from|about) )?[$€£]\d[\d,]*(?:\.\d+)?[KMBkmb]?\b"
    r"(?: ?/ ?[a-z]{1,12}| (?:per|a) [a-z]{1,12}){0,3}",
    re.IGNORECASE,
)


def _keyed(text: _Text, subject: str) -> Iterator[_Found]:
    for key in _keys(text):
        value, (start, end) = key.value, key.characters
        attribute = key.attribute()
        if attribute in _HEADCOUNT and value[:1].isdigit():
            attribute = "employee count"
        if key.is_offer and (amount := _AMOUNT.match(value)):
            value = amount.group()
        if attribute and _is_value(value):
            yield _Found(Statement(subject, attribute, (value,), start, end))


def _is_value(text: str) -> bool:
    """Whether a text says something: it is no gap to be filled in, and announces no list."""
    placeholder = (text.startswith("[") and text.endswith("]")) or text.endswith(":")
    return (
        len(text) <= VALUE_LIMIT
        and "\0" not in text
        and not placeholder
        and any(character.isalnum() for character in text)
    )


@dataclass(frozen=True)
class _Key:
    """A key with what is written for it, below a heading or a key that is over it."""

    key: str
    above: str
    value: str
    characters: tuple[int, int]
    is_below_key: bool = False

    @property
    def is_offer(self) -> bool:
        """Whether it names something that has a price, or the price."""
        return normalise_attribute(self.key).rpartition(" ")[2] in _TIERS | _PRICES

    def attribute(self) -> str:
        """The attribute's name; empty where the key alone says nothing."""
        name = normalise_attribute(_plain(self.key))
        if not name or not (self.is_below_key or _needs_heading(name)):
            return name
        above = normalise_attribute(_plain(self.above))
        if not above:
            return "" if _is_period(name) else name
        return normalise_attribute(f"{above} {name}")


def _needs_heading(name: str) -> bool:
    return _is_period(name) or name in _GENERIC or name.rpartition(" ")[2] in _TIERS


def _is_period(name: str) -> bool:
    words = re.findall(r"\w+", name)
    return any(word[-1].isdigit() for word in words) and all(
        word in _PERIOD_WORDS or _PERIOD_PART.fullmatch(word) for word in words
    )


def _keys(text: _Text) -> Iterator[_Key]:
    """All keys: those of a list below the key of its item, others below a line in bold."""
    above: dict[int, str] = {}
    bold, heading, term = "", "", ""
    for block in text.blocks:
        if block.heading != heading:
            above, bold, heading = {}, "", block.heading
        if block.cells:
            yield from _row(text, block)
            continue
        above = {level: key for level, key in above.items() if level < block.level}
        over = above[max(above)] if above else ""
        number = block.first
        while number < block.last:
            marked = _MARKER.match(text.lines[number])
            begin = marked.end() if marked else 0
            keyed = _KEY.match(text.lines[number], begin)
            defined = _DEFINITION.match(text.lines[number])
            match = keyed or (defined if term else None)
            if match is None:
                named = _BOLD.fullmatch(text.lines[number], begin)
                bold = named["name"] if named else bold
                term = text.lines[number].strip()[: VALUE_LIMIT + 1]
                number += 1
                continue
            after = _last_line(text, block, number) + 1
            key = _Key(
                keyed["key"] if keyed else term,
                over or bold or heading,
                *_value(text, number, match.end(), after),
                is_below_key=bool(over),
            )
            if len(key.key) <= VALUE_LIMIT // 2:
                yield key
            if block.level > _TOP_LEVEL:
                above[block.level] = key.attribute() or key.key
            elif not key.value:
                bold = key.key
            term, number = "", after


def _last_line(text: _Text, block: _Block, number: int) -> int:
    """The last line of a value that begins in a line: the paragraph's text goes on below it."""
    while (
        number + 1 < block.last
        and not _HARD_BREAK.search(text.lines[number])
        and not _ENDS_VALUE.match(text.lines[number + 1])
        and not (number + 2 < block.last and _DEFINITION.match(text.lines[number + 2]))
    ):
        number += 1
    return number


def _value(text: _Text, number: int, column: int, after: int) -> tuple[str, tuple[int, int]]:
    """The value between a column of a line and another line, cleaned, and where it stands."""
    start = text.starts[number] + column
    end = text.starts[after - 1] + len(text.lines[after - 1])
    return _cleaned(text.content, start, max(start, end))


def _cleaned(content: str, start: int, end: int) -> tuple[str, tuple[int, int]]:
    written = content[start : min(end, start + _RAW_LIMIT + 1)]
    start += len(written) - len(written.lstrip())
    end = start + len(written.strip()) if len(written) <= _RAW_LIMIT else end
    too_long = "" if len(written) > _RAW_LIMIT else _plain(written.strip())
    return too_long, (start, end)


def _row(text: _Text, block: _Block) -> Iterator[_Key]:
    """The second cell of a row under the first; what stands above is the column's own heading."""
    line, key, written = text.lines[block.first], block.cells[0], block.cells[1]
    column = line.find(written, line.find(key) + len(key)) if written else -1
    if column < 0:
        return
    start = text.starts[block.first] + column
    first, second = (_plain(cell).casefold() for cell in block.header)
    above = block.heading if second in _NO_HEADING else second
    yield _Key(
        key,
        above,
        *_cleaned(text.content, start, start + len(written)),
        is_below_key=first not in _NO_HEADING and bool(above),
    )


# Sentences.

_UPPER = "".join(letter for letter in map(chr, range(0x530)) if letter.isupper())
_ABBREVIATIONS = _words("Dr Mr Mrs Ms St Prof Jr Sr Inc Co Ltd Corp")
_WORD = rf"(?:(?:[{_UPPER}]|{'|'.join(sorted(_ABBREVIATIONS))})\.|[{_UPPER}][\w'’&-]{{0,40}}(?!\w))"
_NAME = rf"{_WORD}(?: (?:(?:&|of|de|van|von|der|del|di|la|le) )?{_WORD}){{0,5}}"
_PEOPLE = rf"{_NAME}(?:, {_NAME}){{0,5}}(?:,? and {_NAME})?"
_MONTH = "|".join(_MONTHS)
_DAY = (
    rf"(?:\d{{1,2}} (?:{_MONTH}) \d{{4}}|(?:{_MONTH}) (?:\d{{1,2}}, )?\d{{4}}"
    r"|\d{4}(?:-\d\d-\d\d)?)"
)
_OFFICE = (
    r"(?:C[A-Z]O|[Cc]hief [A-Za-z]{3,20}(?: [A-Za-z]{3,20})? [Oo]fficer|[Cc]hief [Ee]xecutive"
    r"|[Pp]resident|[Cc]hair(?:man|woman|person)?|[Mm]anaging [Dd]irector|[Gg]eneral [Mm]anager"
    r"|[Hh]ead of [A-Za-z]{2,20})"
)
_LEAD = r"(?:(?:Today|Now|Currently),? |(?:As of|Since|In) [^,.;:]{1,30}, )?"
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
        rf"{_LEAD}(?P<subject>{_NAME}) was (?:co-)?(?:founded|established)"
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
_NO_NAMES = _words(
    "If When Unless Whether Although Once Until That This These It He She They We You I Who Which"
    " There No Nobody None Not Neither Suppose As Since In On At Our Its Their His Her A An The"
    " Before After While Perhaps Maybe Former Had Were"
)
_BOUNDARY = re.compile(r"[.!?] ")
_SEPARATOR = re.compile(r",? and |, ")


def _told(text: _Text) -> Iterator[_Found]:
    for block in text.blocks:
        if block.cells or not any(map(_WORTH_READING.search, text.lines[block.first : block.last])):
            continue
        prose, places = _prose(text, block)
        for start in _sentence_starts(prose):
            for pattern in _SENTENCES:
                if match := pattern.match(prose, start, start + _SENTENCE_LIMIT):
                    yield from _stated(match, places)


def _prose(text: _Text, block: _Block) -> tuple[str, list[int]]:
    """A paragraph without marks and breaks, and where each of its characters stands."""
    characters, places = [" "], [-1]
    for number in range(block.first, block.last):
        line = text.lines[number]
        marker = _MARKER.match(line)
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
        if last_word not in _ABBREVIATIONS and not (len(last_word) == 1 and last_word.isupper()):
            yield boundary.end()


def _stated(match: re.Match[str], places: list[int]) -> Iterator[_Found]:
    """What a sentence says, unless what looks like a name in it is none."""
    groups = {group: found for group, found in match.groupdict().items() if found}
    names = [groups[group] for group in ("subject", *_HOLDERS, "founder") if group in groups]
    if not all(map(_is_name, names)) or groups["subject"].endswith(("'s", "’s")):
        return
    subject = normalise_subject(groups["subject"].removeprefix("The "))
    for group, found in groups.items():
        start, end = places[match.start(group)], places[match.end(group) - 1] + 1
        if group in _HOLDERS:
            yield _Found(
                Statement(
                    subject,
                    normalise_attribute(groups["office"]),
                    () if group == "resigned" else (found,),
                    start,
                    end,
                    _date(groups.get("day") or groups.get("since") or ""),
                ),
                appointed=group == "appointed",
                resigned=found if group == "resigned" else "",
            )
        elif group in _ATTRIBUTES:
            people = tuple(_SEPARATOR.split(found)) if group == "founder" else (found,)
            attribute = "founders" if len(people) > 1 else _ATTRIBUTES[group]
            yield _Found(Statement(subject, attribute, people, start, end))


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
