"""Which encoding a file's text is in.

Here belongs what is declared of it, what its bytes tell, and what to suggest where they tell that
what is declared is wrong, or tell nothing for sure. Decoding belongs to ``file_text``.
"""

from __future__ import annotations

import codecs
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from pricing_platform.catalog.data_files import FileKind, file_kind, opened
from pricing_platform.catalog.file_text import LONGEST_LINE, UTF8, UTF8_WITH_MARK
from pricing_platform.errors import PlatformError

WINDOWS_1252 = "cp1252"
_MARKS = {
    codecs.BOM_UTF8: UTF8_WITH_MARK,
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Longest first: the mark of UTF-32 begins like that of UTF-16."""

_SAMPLE_BYTES = 2**16
_FEWEST_BAD_JSON = 10
_BAD_SAMPLE_BYTES = 200_000
_NO_TEXT = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_CONTROLS = 0.01
_XML_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*?\sencoding\s*=\s*["']([^"']+)["']""")
_WESTERN = "äöüßÄÖÜàâáãåæçèéêëìíîïñòóôõøœùúûÿÀÁÂÃÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕØŒÙÚÛÝýŠšŽž"
_ICELANDIC = "ðþÐÞ"
"""Western too, but elsewhere these bytes are letters of Turkish and Baltic languages."""

_WESTERN_MARKS = "\xa0€£¥§©®™°²³½¼¾±×÷–—‘’‚“”„•…‰‹›«»·´¡¿¢µºª¦¨¯¸¶†‡ˆ˜"
_LONGEST_RUN = 3
"""Letters beyond ASCII in a row that a Western word has at most."""

_USUAL = frozenset((
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258",
    "iso8859-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6", "iso8859-7",
    "iso8859-8", "iso8859-9", "iso8859-13", "iso8859-15", "iso8859-16", "koi8-r", "koi8-u",
    "mac-roman", "cp437", "cp850", "cp852", "cp866", "cp874", "cp932", "shift_jis", "euc_jp", "gbk",
    "gb18030", "big5", "cp949", "euc_kr",
))  # fmt: skip
"""What shops' files are written in, as Python names it."""

_CLEARLY, _FEWEST_CONFIDENCE = 1.4, 0.04
"""By how much, and at least how well, another encoding has to fit to be preferred.

Chosen on product names in 26 languages, where the right one fits at least 1.6 times as well and
with 0.056, and the second best of Western names at most 1.2 times.
"""

_OTHER_LETTERS = "\u0370-\u06ff\u0e00-\u0e7f"
_IDEOGRAPHS = "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af\uff66-\uff9f"
_FOREIGN = re.compile(f"[{_OTHER_LETTERS}{_IDEOGRAPHS}]")
_ALONE = re.compile(f"(?<!{_FOREIGN.pattern}){_FOREIGN.pattern}(?!{_FOREIGN.pattern})")
_OTHER_SCRIPT = re.compile(f"[{_OTHER_LETTERS}]")
_MIXED = re.compile(f"(?<=[A-Za-z])[{_OTHER_LETTERS}]|[{_OTHER_LETTERS}](?=[A-Za-z])")
_CONTROLS = re.compile("[\x80-\x9f]")


class _Reading(NamedTuple):
    """What bytes are in an encoding, and how well that fits, from 0 to 1.

    ``language``: that of the text, as ISO 639-1 has it, where it looks like one.
    """

    encoding: str
    text: str
    confidence: float
    language: str | None = None


def known_encoding(name: str) -> str:
    """The encoding as Python names it.

    Raises:
        ValueError: when none of text is known by the name.
    """
    try:
        found = codecs.lookup(name).name
        bytes(range(256)).decode(found, "backslashreplace")
    except (LookupError, ValueError):  # UnicodeError is a ValueError
        raise ValueError(f"{name!r} is no encoding that is known") from None
    return found


def encoding_of(file: Path, declared: str | None) -> tuple[str, bool]:
    """The encoding, and whether lines end in a line feed.

    Raises:
        PlatformError: when the file is binary, or its encoding can't be told or is not the declared
            one.
    """
    kind = file_kind(file)
    with opened(file) as stream:
        start = stream.read(_SAMPLE_BYTES)
    marked = _marked(start)
    if declared is not None and marked is not None and _family(declared) != _family(marked):
        raise PlatformError(
            f"{file} is declared to be in {declared}, but begins with the mark of {marked}.",
            f"Leave `encoding` out of sources.toml, or say encoding = {marked!r}.",
        )
    found = declared or marked or _without_mark(start)
    in_xml = _in_xml_declaration(file, start) if kind == "xml" else None
    found = found or in_xml
    if found is None and _is_binary(start):
        raise PlatformError(f"{file} is not text but binary.", "Name the file after what it is.")
    text = start.decode(found or "latin-1", "replace")
    has_plain_ends = "\n" in text or "\r" not in text
    if found is None:
        return _eight_bits(file, kind), has_plain_ends
    if found in (declared, in_xml) and not found.startswith(("utf-16", "utf-32")):
        _require_that_it_fits(file, kind, found, start)
    return found, has_plain_ends


def _is_binary(start: bytes) -> bool:
    """Whether bytes that no text has are many; one zero byte is damage to a row."""
    controls = len(_NO_TEXT.findall(start))
    return b"\0" in start and controls > max(1, _MOST_CONTROLS * len(start))


def _family(encoding: str) -> str:
    return encoding.replace("_", "-")[:6].rstrip("-")


def _marked(start: bytes) -> str | None:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)


def _in_xml_declaration(file: Path, start: bytes) -> str | None:
    told = _XML_DECLARATION.match(start)
    if told is None:
        return None
    name = told[1].decode("ascii", "replace")
    try:
        return known_encoding(name)
    except ValueError:
        raise PlatformError(
            f"{file} declares the encoding {name!r}, which is none that is known.",
            'Say how the file is written, as encoding = "cp1250", in sources.toml.',
        ) from None


def _without_mark(start: bytes) -> str | None:
    """UTF-16 without a mark: every other byte of most letters is 0."""
    if len(start) < 4:
        return None
    even, odd = start[::2].count(0), start[1::2].count(0)
    half = len(start) / 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else None


def _eight_bits(file: Path, kind: FileKind) -> str:
    """UTF-8, or Windows-1252 where most lines with letters beyond ASCII are that."""
    bad, sample = _lines_that_do_not_fit(file, kind, UTF8)
    if not bad:
        return UTF8
    readings = _readings(sample)
    if _is_western(sample, readings):
        return WINDOWS_1252
    raise PlatformError(
        f"{file}: {bad:,} rows are not UTF-8, and not clearly Windows-1252 either.",
        _suggestion(readings, {UTF8, WINDOWS_1252}),
    )


def _require_that_it_fits(file: Path, kind: FileKind, encoding: str, start: bytes) -> None:
    whole_lines = start[: start.rfind(b"\n") + 1] or start
    is_utf8 = _decodes(whole_lines, UTF8) and not whole_lines.isascii()
    if is_utf8 and len("ä".encode().decode(encoding, "replace")) == 2:
        raise PlatformError(
            f"{file} is declared to be in {encoding}, but its text is UTF-8.",
            "Say encoding = 'utf-8' in sources.toml.",
        )
    bad, sample = _lines_that_do_not_fit(file, kind, encoding)
    if not bad:
        return
    readings = _readings(sample)
    if _is_western(sample, readings):
        readings.insert(0, _Reading(WINDOWS_1252, sample.decode(WINDOWS_1252), 1.0))
    raise PlatformError(
        f"{file}: {bad:,} rows are not {encoding}, which it is declared to be in.",
        _suggestion(readings, {encoding}),
    )


def _decodes(text: bytes, encoding: str) -> bool:
    try:
        text.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _lines_that_do_not_fit(file: Path, kind: FileKind, encoding: str) -> tuple[int, bytes]:
    """How many lines can't be decoded, and some of them; 0 where that is damage.

    A line here and there that can't is one that is damaged, and is told of as a row. JSON is UTF-8
    by its standard, so there it takes more of them; and whoever writes letters as ``\\u00fc``
    writes no others: what lies beyond ASCII beside such lines is damage.
    """
    bad = 0
    sample = bytearray()
    with opened(file) as stream:
        for line in iter(partial(stream.readline, LONGEST_LINE), b""):
            if line.isascii() or _decodes(line, encoding):
                continue
            bad += 1
            if len(sample) < _BAD_SAMPLE_BYTES:
                sample += line
    is_damage = kind == "json" and bad < _FEWEST_BAD_JSON
    if is_damage or _has_good_lines(file, kind, encoding, bad):
        return 0, b""
    return bad, bytes(sample)


def _has_good_lines(file: Path, kind: FileKind, encoding: str, count: int) -> bool:
    """Whether that many lines tell of the encoding; read no further than to the last of them."""
    good = 0
    with opened(file) as stream:
        lines = iter(partial(stream.readline, LONGEST_LINE), b"")
        while good < count and (line := next(lines, None)) is not None:
            if line.isascii():
                good += kind == "json" and b"\\u" in line
            else:
                good += _decodes(line, encoding)
    return good >= count


def _is_western(sample: bytes, readings: list[_Reading]) -> bool:
    """Whether bytes read as Windows-1252 give what Western texts have, and as nothing else more."""
    try:
        text = sample.decode(WINDOWS_1252)
    except UnicodeDecodeError:
        return False
    beyond = [letter for letter in text if not letter.isascii()]
    best = readings[0] if readings else None
    is_icelandic = best is not None and best.text == text and best.language in ("is", "fo")
    known = _WESTERN + _WESTERN_MARKS + (_ICELANDIC if is_icelandic else "")
    expected = sum(letter in known for letter in beyond)
    inside = len(re.findall(rf"(?<=[^\W\d_])[{re.escape(_WESTERN_MARKS)}](?=[^\W\d_])", text))
    apostrophes = len(re.findall(r"(?<=[^\W\d_])[’‘´·\xa0–—](?=[^\W\d_])", text))
    runs = re.findall(rf"[{_WESTERN}]{{{_LONGEST_RUN + 1},}}", text)
    odd = inside - apostrophes + sum(map(len, runs))
    if expected < 0.98 * len(beyond) or odd > 0.02 * len(beyond):
        return False
    so_well = max((at.confidence for at in readings if at.text == text), default=0.0)
    enough = max(_CLEARLY * so_well, _FEWEST_CONFIDENCE)
    return not any(at.confidence >= enough for at in readings if at.text != text)


def _readings(sample: bytes) -> list[_Reading]:
    """What the bytes are in each usual encoding in which they make a text, best first."""
    from chardet import detect_all

    readings = []
    for told in detect_all(sample, ignore_threshold=True, max_bytes=len(sample)):
        try:
            encoding = codecs.lookup(str(told["encoding"])).name
            text = sample.decode(encoding)
        except (LookupError, UnicodeDecodeError):
            continue
        if encoding in _USUAL and _is_text(text):
            readings.append(_Reading(encoding, text, told["confidence"], told["language"]))
    return readings


def _is_text(text: str) -> bool:
    """Whether words don't mix scripts, other scripts have words, and nothing is a control.

    A sign such as Ø or × alone is a letter of Cyrillic or an ideograph in other encodings.
    """
    return (
        not _CONTROLS.search(text)
        and len(_MIXED.findall(text)) <= 0.1 * len(_OTHER_SCRIPT.findall(text))
        and len(_ALONE.findall(text)) <= 0.5 * len(_FOREIGN.findall(text))
    )


def _suggestion(readings: list[_Reading], refused: set[str]) -> str:
    """What to set, where something fits that does not read as what was refused."""
    as_refused = {at.text for at in readings if at.encoding in refused}
    for reading in readings:
        if reading.text not in as_refused:
            return (
                f"Say how the file is written: encoding = {reading.encoding!r} in sources.toml, if"
                " that is right."
            )
    return 'Say how the file is written, as encoding = "cp1250", in sources.toml.'
