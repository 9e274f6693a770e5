"""The peer of the curation: a loop of ``json.loads`` and regular expressions that cleans the same.

It reads the published item metadata, applies the same rules in the same order, cleans the same
texts, finds quantities and model numbers, builds the same kind of text, and writes Parquet. It is
written as a careful person would: patterns compiled once, no work done twice.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from ftfy import fix_encoding

_TAGS = re.compile(r"(?is)<(?:script|style)\b.*?</(?:script|style)\s*>|<!--.*?-->|</?[a-z][^<>]*>")
_MONEY = re.compile(
    r"(?i)(?:\b(?:now|only|was|price|msrp|from)\s*:?\s*)?(?:[$€£]\s?\d[\d,.]*|\b(?:usd|eur|gbp)\s?\d[\d,.]*"
    r"|\d[\d,.]*\s?(?:[$€£]|\b(?:usd|eur|gbp|dollars)\b))"
)
_SPACES = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u202f\ufeff\ufffd]+")
_ENTITY = re.compile(r"&(?:#\w{1,8}|[A-Za-z]\w{1,30});")
_MOJIBAKE = re.compile("[ÂÃâ][\x80-\xbf€™œ“”–ž]")
_LETTER = re.compile(r"\w")
_COUNT = re.compile(
    r"(?i)\b(?:pack|set|box|case)\s+of\s+(\d+)\b|\b(\d+)[\s-]?(?:count|ct|pack|pcs|pieces)\b"
)
_UNIT = re.compile(
    r"(?i)\b(\d+(?:\.\d+)?)[\s-]?(fl\.?\s?oz|oz|ounces?|lbs?|pounds?|kg|g|grams?|ml|l|liters?|inch(?:es)?|cm|mm|m|feet|ft)\b"
)
_MODEL = re.compile(r"\b(?=[A-Z0-9-]*\d)(?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)+\b")
_SCALE = {
    "oz": ("g", 28.349523125), "ounce": ("g", 28.349523125), "ounces": ("g", 28.349523125),
    "lb": ("g", 453.59237), "lbs": ("g", 453.59237), "pound": ("g", 453.59237),
    "pounds": ("g", 453.59237), "kg": ("g", 1000.0), "g": ("g", 1.0), "gram": ("g", 1.0),
    "grams": ("g", 1.0), "ml": ("ml", 1.0), "l": ("ml", 1000.0), "liter": ("ml", 1000.0),
    "liters": ("ml", 1000.0), "inch": ("m", 0.0254), "inches": ("m", 0.0254), "cm": ("m", 0.01),
    "mm": ("m", 0.001), "m": ("m", 1.0), "feet": ("m", 0.3048), "ft": ("m", 0.3048),
}  # fmt: skip
_PRICE_NAMES = re.compile(r"(?i)(?:\b|_)(?:price[ds]?|msrp|rrp)(?:\b|_)")
_LEADING_WORDS = re.compile(r"(?i)^\s*(?:from|only|now)\b")
_OTHER_CURRENCY = re.compile(r"(?i)[€£]|eur|gbp|cad|aud")


def curate(paths: list[Path], target: Path) -> Counter[str]:
    """Writes the kept rows to ``target``; returns how many were kept or refused by which rule."""
    counts: Counter[str] = Counter()
    kept: list[dict[str, Any]] = []
    for path in paths:
        seen: set[str] = set()
        with path.open("rb") as lines:
            for line in lines:
                rule, row = _curated(line, seen)
                counts[rule] += 1
                if row is not None:
                    kept.append(row)
    pl.DataFrame(kept, infer_schema_length=None).write_parquet(target)
    return counts


def _curated(line: bytes, seen: set[str]) -> tuple[str, dict[str, Any] | None]:
    record, details = _readable(line)
    if record is None:
        return "unreadable", None
    identifier = str(record.get("parent_asin") or "").strip()
    title = _clean(record.get("title") or "")
    price = _price(record.get("price"))
    if rule := _refused(record, identifier, title, price):
        return rule, None
    if identifier in seen:
        return "duplicate_in_snapshot", None
    seen.add(identifier)
    parts = [*(record.get("description") or []), *(record.get("features") or [])]
    description = _clean(" ".join(str(part) for part in parts)[:10_000])[:2_000]
    attributes = {
        cleaned: _clean(str(value)[:300])
        for name, value in details.items()
        if not _PRICE_NAMES.search(cleaned := _clean(name))
    }
    brand = _clean(record.get("store") or "")
    category = _clean(record.get("main_category") or "") or "unknown"
    lines = [title, f"Brand: {brand}", f"Category: {category}"]
    lines += [f"{name}: {value}" for name, value in attributes.items()]
    text = "\n".join([*lines, description])
    quantity, unit = _quantity(title) or _quantity(" ".join(attributes.values())) or (None, None)
    model = _MODEL.search(title)
    return "kept", {
        "item_id": hashlib.sha256(identifier.encode()).hexdigest()[:16],
        "title": title,
        "description": description,
        "brand": brand,
        "category": category,
        "model_number": attributes.get("Model Number") or (model and model[0]),
        "attributes": json.dumps(attributes),
        "quantity": quantity,
        "unit": unit,
        "price": price,
        "text": text,
        "content_hash": hashlib.sha256(text.encode()).hexdigest(),
    }


def _readable(line: bytes) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """The record and its details; no record where a part of it is not what it should be."""
    try:
        record = json.loads(line)
        details = record.get("details") or {}
        details = json.loads(details) if isinstance(details, str) else details
        title, price = record.get("title"), record.get("price")
    except (ValueError, AttributeError):
        return None, {}
    if not isinstance(title, str | None) or not isinstance(details, dict):
        return None, {}
    if isinstance(price, dict | list | bool):
        return None, {}
    return record, details


def _refused(
    record: dict[str, Any], identifier: str, title: str, price: float | None
) -> str | None:
    """The first rule that refuses the record. Its time and its currency are the file's."""
    if not identifier:
        return "listing_id_missing"
    if not _LETTER.search(title):
        return "title_missing"
    published = record.get("price")
    if price is None:
        return "price_missing" if published in (None, "", "None") else "price_not_a_number"
    if price <= 0:
        return "price_not_positive"
    if not 0.5 <= price <= 999.49:
        return "price_out_of_range"
    if isinstance(published, str) and _OTHER_CURRENCY.search(published):
        return "price_in_other_currency"
    return None


def _clean(text: str) -> str:
    if _ENTITY.search(text) or _MOJIBAKE.search(text):
        text = fix_encoding(html.unescape(text))
    if "<" in text:
        text = _TAGS.sub(" ", text)
    return _SPACES.sub(" ", _MONEY.sub("", text)).strip()


def _price(value: object) -> float | None:
    try:
        return float(_LEADING_WORDS.sub("", str(value)).replace("$", "").replace(",", ""))
    except ValueError:
        return None


def _quantity(text: str) -> tuple[float, str] | None:
    if found := _COUNT.search(text):
        return float(found[1] or found[2]), "count"
    if found := _UNIT.search(text):
        unit, scale = _SCALE.get(found[2].lower(), ("ml", 29.5735295625))
        return float(found[1]) * scale, unit
    return None
