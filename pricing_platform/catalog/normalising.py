"""How the texts of a listing are cleaned and its amounts made comparable, as SQL for DuckDB.

Here belong the steps of cleaning and the template of an item's text. Which listings are kept
belongs to :mod:`pricing_platform.catalog.curation`, which runs all this over whole tables.

One pass over a text tells whether it needs any step: most need none, and are left as they are. Of
the others, each step says by a cheap test which it changes. The patterns are RE2's.

That no text gives an amount of money away holds line by line: no pattern of money matches a line's
end or a separator, and spaces are folded before amounts are sought. So what was cleaned field by
field stays clean when the template puts the fields on lines of their own.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

import duckdb

from pricing_platform.catalog.money_in_texts import PRICE_NAME, money_patterns, quoted
from pricing_platform.price_reading import prepare_price_reading
from pricing_platform.settings import sql_folder

TEXT_TEMPLATE_VERSION = "4"
"""Of the template below and of the cleaning before it."""

DESCRIPTION_LIMIT = 2_000
"""Characters of a cleaned description that are kept: about twice what an encoder reads."""

VALUE_LIMIT = 300
"""Characters of an attribute's value that are kept."""

UNCLEANED_LIMIT = 5 * DESCRIPTION_LIMIT
"""Characters of a description that are cleaned at all: one row's HTML must not stall a run."""

FIELD_SEPARATOR, VALUE_SEPARATOR = "\x1f", "\x1e"
"""The texts of a row are cleaned as one, joined by these, which no step adds or takes away."""

_SPACES = r"\x{1680}\x{2000}-\x{200f}\x{2028}-\x{202f}\x{205f}\x{3000}"
_UNSEEN = rf"\x00-\x1d\x7f-\x{{a0}}{_SPACES}\x{{feff}}\x{{fffd}}"

_ENTITY = r"&(?:#\w{1,8}|[A-Za-z]\w{1,30});"
GARBLED = "[ÂÃâ][\u0080-\u00bf€™œ“”–ž]"
"""UTF-8 that was read as Windows-1252 or Latin-1."""

TEXT_TEMPLATE = """
concat_ws(
    chr(10),
    title,
    'Brand: ' || brand,
    'Category: ' || nullif(category, 'unknown'),
    nullif(array_to_string(
        list_transform(entries, lambda e: name_shown(e.key) || ': ' || e.value), chr(10)
    ), ''),
    nullif(description, '')
)
"""
"""What every technique reads of an item. The attributes come before the description, because an
encoder reads the first few hundred tokens."""


QUANTITIES = """
SELECT * REPLACE (CASE WHEN quantity IS NOT NULL THEN unit END AS unit) FROM (SELECT
    measured.* EXCLUDE (amounts, amount, pack, length),
    round(CASE
        WHEN weight.unit IS NOT NULL AND amount.more = ''
            THEN number_written(amount.number, unit_name(amount.unit)) * weight.factor
                * times_sold(pack, times_written(amount.times || ' ' || amount.times_after))
        WHEN weight.unit IS NOT NULL THEN NULL
        WHEN pack IS NOT NULL THEN pack
        ELSE number_written(length.number, unit_name(length.unit)) * distance.factor
    END, 6) AS quantity,
    CASE
        WHEN weight.unit IS NOT NULL THEN weight.unit
        WHEN pack IS NOT NULL THEN 'count'
        ELSE distance.unit
    END AS unit
FROM (
    SELECT
        *,
        CASE WHEN amount['unit'] = '' AND pack IS NULL THEN length_written(amounts) END AS length
    FROM (
        SELECT * EXCLUDE (packed), pack_count(packed) AS pack
        FROM (
            SELECT *, amount_written(amounts) AS amount, pack_written(amounts) AS packed
            FROM {relation}
        )
    )
) AS measured
LEFT JOIN units AS weight ON weight.name = unit_name(amount.unit)
LEFT JOIN units AS distance ON distance.name = unit_name(length.unit || length.mark)
)
"""
"""How much of which unit the text ``amounts`` of a relation says: g, ml, count or m. A weight or a
volume is multiplied by the pack count. Null where a number may be read in two ways, or is the first
of several ('1 kg 500 g')."""


@dataclass(frozen=True)
class TextStep:
    """A step of cleaning: a ``{text}`` for which ``when`` holds becomes ``then``."""

    name: str
    when: str
    then: str


TEXT_STEPS = (
    TextStep(
        "decode entities and repair broken encodings",
        f"contains({{text}}, '&') AND regexp_matches({{text}}, '{_ENTITY}')"
        " OR (contains({text}, 'Ã') OR contains({text}, 'â') OR contains({text}, 'Â'))"
        f" AND regexp_matches({{text}}, '{GARBLED}')",
        "repair_text({text})",
    ),
    TextStep(
        "take HTML out",
        "contains({text}, '<')",
        r"regexp_replace({text}, '(?is)<(?:script|style)\b[^\x1e\x1f]*?</(?:script|style)\s*>"
        r"|<!--[^\x1e\x1f]*?-->|</?[a-z][^<>\x1e\x1f]*>', ' ', 'g')",
    ),
    TextStep(
        "fold spaces and control characters",
        f"regexp_matches({{text}}, '[{_UNSEEN}]|  ')",
        f"regexp_replace({{text}}, '[ {_UNSEEN}]+', ' ', 'g')",
    ),
    TextStep(
        "take amounts of money out",
        "hints_at_money({text})",
        "without_amounts({text})",
    ),
    TextStep(
        "take all words of money out where taking amounts out made others",
        "has_money({text})",
        "without_money_words({text})",
    ),
)
"""A step looks at what the one before left. None is a lambda: the patterns in one are compiled anew
for each 2,048 rows."""

_NEEDS_A_STEP = rf"{_ENTITY}|{GARBLED}|<|[{_UNSEEN}\x1e\x1f]|  "
"""What every text has that a step but the last changes; and the separators, to tell of them."""

_MACROS = r"""
CREATE OR REPLACE TEMP MACRO needs_cleaning(text) AS regexp_matches(text, {needs_cleaning});
CREATE OR REPLACE TEMP MACRO hints_at_money(text) AS regexp_matches(text, {hint});
CREATE OR REPLACE TEMP MACRO has_money(text) AS {is_in};
CREATE OR REPLACE TEMP MACRO without_amounts(text) AS
    regexp_replace(regexp_replace(text, {amount}, '\1', 'g'), ' +', ' ', 'g');
CREATE OR REPLACE TEMP MACRO without_money_words(text) AS
    regexp_replace(text, {words_or_blanks}, ' ', 'g');
CREATE OR REPLACE TEMP MACRO name_shown(name) AS trim(replace(name, '_', ' '));
CREATE OR REPLACE TEMP MACRO names_a_price(name) AS
    CASE
        WHEN regexp_matches(name, {price_name}) THEN true
        ELSE has_money(name_shown(name))
    END;
CREATE OR REPLACE TEMP MACRO may_name_a_price(names) AS regexp_matches(names, {words});
"""
"""Taking an amount out may bring a sign beside a number ('$ $5 5'). Of such a text, which is rare,
all signs and words of money are taken: a second pass could bring others together."""


def prepare(connection: duckdb.DuckDBPyConnection, currency: str) -> None:
    """Makes the functions and macros known that cleaning calls.

    Args:
        connection: on which texts are cleaned.
        currency: of the catalogue, whose amounts are known by all of their marks.
    """
    connection.create_function("repair_text", repair_text, ["VARCHAR"], "VARCHAR")
    prepare_price_reading(connection)
    quantities = sql_folder() / "curation" / "quantities.sql"
    connection.execute(quantities.read_text(encoding="utf-8"))
    money = money_patterns(currency)
    connection.execute(
        _MACROS.format(
            needs_cleaning=quoted(f"{money.hint}|(?-i:{_NEEDS_A_STEP})"),
            hint=quoted(money.hint),
            is_in=money.is_in("text"),
            amount=quoted(money.amount),
            words=quoted(f"(?i){money.words}"),
            words_or_blanks=quoted(f"(?i)(?:(?:{money.words})| )+"),
            price_name=quoted(PRICE_NAME),
        )
    )


def repair_text(text: str) -> str:
    """Decodes entities and undoes UTF-8 that was read as another encoding (``CafÃ©``)."""
    decoded = html.unescape(text)
    if not re.search(GARBLED, decoded):
        return decoded
    from ftfy import fix_encoding

    return str(fix_encoding(decoded))


def cleaned(relation: str, column: str) -> str:
    """A query for the relation in which ``column`` went through every step."""
    unclean = f"CASE WHEN needs_cleaning({column}) THEN {column} END"
    query = f"SELECT *, {unclean} AS unclean FROM {relation}"
    for step in TEXT_STEPS:
        when, then = (part.replace("{text}", "unclean") for part in (step.when, step.then))
        changed = f"CASE WHEN {when} THEN {then} ELSE unclean END"
        query = f"SELECT * REPLACE ({changed} AS unclean) FROM ({query})"
    return (
        f"SELECT * EXCLUDE (unclean) REPLACE (coalesce(unclean, {column}) AS {column})"
        f" FROM ({query})"
    )
