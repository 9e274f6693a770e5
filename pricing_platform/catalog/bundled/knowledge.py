"""The knowledge documents that come with the bundled catalogue, and questions about them.

Who makes the catalogue's brands, who leads them, how their goods are cared for and on what terms
the two shops sell: fictional, drawn with a seed, consistent from document to document. Here belongs
what is drawn and how the files get to disk. What is given stands in ``knowledge.toml``, how it is
worded in ``knowledge_templates.toml``.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from filelock import FileLock
from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt

from pricing_platform.catalog.bundled.hedonics import seeded_random
from pricing_platform.catalog.bundled.vocabulary import Category, categories
from pricing_platform.errors import PlatformError

VERSION = 1
"""Raised with every change of what is written, so that documents on disk are written anew."""

QUESTIONS = "questions.jsonl"
_MANIFEST = "manifest.json"
_SEED = 42
_AS_HTML, _AS_TEXT = "care_guides/bedding.md", "stores/harbor_goods_shipping.md"
_MONTHS = ("January", "March", "April", "June", "September", "October")
_TITLES = ("sales representative", "process engineer", "head of purchasing", "works accountant")
_NAMES = {"makers": "m", "brands": "b", "people": "p", "guides": "g", "stores": "s"}

Thing = dict[str, Any]
"""What a template tells of, by the names that it uses."""


def write_bundled_knowledge(folder: Path) -> Path:
    """Writes about 60 documents and ``questions.jsonl`` into the folder, unless they are there.

    The documents lie in ``makers``, ``brands``, ``people``, ``care_guides`` and ``stores``:
    Markdown, one in HTML and one as plain text. Every call writes the same. A folder of this
    version is left as it is, so that whoever changes a document finds the change again; one of
    another version is replaced as a whole.

    Each line of ``questions.jsonl`` has ``question``, ``keywords`` that an answer's passages hold,
    ``reference_answer`` and ``category``.

    Returns:
        The folder.

    Raises:
        PlatformError: where the folder holds something else, or can't be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if _version(folder) != VERSION:
                _write_anew(folder)
    except OSError as error:
        raise PlatformError(
            f"The bundled documents cannot be written to {folder}: {error.strerror or error}.",
            "Name a folder that you may write to.",
        ) from error
    return folder


def _version(folder: Path) -> int | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if isinstance(manifest, dict) and isinstance(manifest.get("knowledge"), int):
        return int(manifest["knowledge"])
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise PlatformError(
            f"{folder} holds something else than the bundled documents.",
            "Name an empty or a new folder.",
        )
    return None


def _write_anew(folder: Path) -> None:
    """Builds beside the folder, then renames; what a killed run left there is thrown away."""
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    for path, text in _contents():
        target = scratch / "new" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8", newline="\n")
    if folder.exists():
        folder.rename(scratch / "old")
    (scratch / "new").rename(folder)
    shutil.rmtree(scratch)


def _contents() -> Iterator[tuple[str, str]]:
    """All files by their paths, the manifest last."""
    world, worded = drawn_world(), _read("knowledge_templates.toml")
    shared = {"makers": world["makers"], "categories": [entry.name for entry in categories()]}
    for kind, templates in worded["documents"].items():
        things = world["guides" if kind == "care_guides" else kind]
        for number, thing in enumerate(things):
            # A shop has all of its documents, everything else has one.
            chosen = templates if kind == "stores" else [templates[number % len(templates)]]
            for template in chosen:
                text = _rendered(template, thing, shared, number, kind)
                path = f"{kind}/{_file_name(text if kind == 'stores' else thing['name'])}.md"
                yield _in_its_format(path, text)
    asked = [line for entry in worded["question"] for line in _questions(entry, world, shared)]
    yield QUESTIONS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in asked)
    yield _MANIFEST, json.dumps({"knowledge": VERSION, "seed": _SEED}) + "\n"


def _in_its_format(path: str, text: str) -> tuple[str, str]:
    if path == _AS_HTML:
        title = text.partition("\n")[0].removeprefix("# ")
        body = MarkdownIt("commonmark").enable("table").render(text)
        head = f'<head><meta charset="utf-8"><title>{title}</title></head>'
        return path.replace(
            ".md", ".html"
        ), f"<!doctype html>\n<html>{head}\n<body>\n{body}</body>\n</html>\n"
    return (path.replace(".md", ".txt") if path == _AS_TEXT else path), text


def _file_name(text: str) -> str:
    title = text.strip().partition("\n")[0].removeprefix("# ").removeprefix("About ")
    ascii_title = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", ascii_title.lower()).strip("_")


def _rendered(source: str, thing: Thing, shared: Thing, number: int, kind: str) -> str:
    rng = seeded_random(_SEED, "knowledge", kind, number, source[:80])
    values = {_NAMES.get(kind, "g"): thing, **shared, "one_of": lambda *words: rng.choice(words)}
    return _template(source).render(values).strip() + "\n"


@cache
def _template(source: str) -> Template:
    # Nothing is escaped, for what is rendered is Markdown out of the package's own data.
    environment = Environment(undefined=StrictUndefined, autoescape=False)  # noqa: S701
    return environment.from_string(source)


def _questions(entry: Thing, world: Thing, shared: Thing) -> Iterator[Thing]:
    """The question of as many things as it says."""
    things = world[entry["each"]]
    rng = seeded_random(_SEED, "question", entry["question"])
    for place in sorted(rng.sample(range(len(things)), entry["take"])):
        values = {
            _NAMES[entry["each"]]: things[place],
            "other": things[(place + 1) % len(things)],
            **shared,
        }
        yield {
            "question": _template(entry["question"]).render(values),
            "keywords": [_template(keyword).render(values) for keyword in entry["keywords"]],
            "reference_answer": _template(entry["answer"]).render(values),
            "category": entry["category"],
        }


# What is drawn.


@cache
def drawn_world() -> dict[str, list[Thing]]:
    """Makers, their chiefs (``people``), brands, care guides and stores, as the documents tell."""
    given = _read("knowledge.toml")
    rng = seeded_random(_SEED, "knowledge")
    names = [f"{first} {last}" for first in given["given_names"] for last in given["family_names"]]
    people = iter(rng.sample(names, len(names)))
    warranties = rng.sample(range(2, 31), len(given["maker"]))
    makers = [
        _maker(entry, warranty, people, rng)
        for entry, warranty in zip(given["maker"], warranties, strict=True)
    ]
    by_name = {category.name: category for category in categories()}
    return {
        "makers": makers,
        "people": [maker["ceo"] for maker in makers],
        "brands": [
            _brand(name, maker, by_name[maker["category"]], next(people), rng)
            for maker in makers
            for name in maker["brands"]
        ],
        "guides": [_guide(entry, makers, rng) for entry in given["guide"]],
        "stores": [_store(entry, place, rng) for place, entry in enumerate(given["store"])],
    }


def _maker(entry: Thing, warranty: int, people: Iterator[str], rng: Random) -> Thing:
    maker = {
        **entry,
        "founder": next(people),
        "employees": f"{rng.randrange(120, 2400):,}",
        "revenue": f"${rng.randrange(12, 480)} million",
        "phone": f"+1 555 01{rng.randrange(100):02d}",
        "warranty": warranty,
        "parts": rng.randrange(6, 26),
    }
    maker["ceo"] = _chief(maker, next(people), next(people), rng)
    return maker


def _chief(employer: Thing, name: str, predecessor: str, rng: Random) -> Thing:
    appointed = rng.randrange(2012, 2025)
    salary, raise_ = rng.randrange(140, 390) * 1000, rng.randrange(3, 9) * 1000
    salaries = {str(year): salary - (2025 - year) * raise_ for year in range(2021, 2026)}
    return {
        "name": name,
        "employer": employer,
        "predecessor": predecessor,
        "appointed": f"{rng.randrange(1, 29)} {rng.choice(_MONTHS)} {appointed}",
        "born": f"{rng.randrange(1, 29)} {rng.choice(_MONTHS)} {appointed - rng.randrange(38, 55)}",
        "joined": appointed - rng.randrange(6, 14),
        "first_title": rng.choice(_TITLES),
        "salary": f"${salary:,}",
        "salaries": {year: f"${amount:,}" for year, amount in salaries.items()},
        "candidates": rng.randrange(3, 19),
        "languages": rng.choice(("two", "three", "four")),
    }


def _brand(name: str, maker: Thing, category: Category, designer: str, rng: Random) -> Thing:
    effect = category.brands[name]
    features = [feature.words[0] for feature in category.features]
    return {
        "name": name,
        "maker": maker,
        "category": category.name,
        "effect": effect,
        "designer": designer,
        "launched": min(int(maker["founded"]) + rng.randrange(3, 40), 2021),
        "price": f"${category.median_price * math.exp(effect):.2f}",
        "returns": f"{rng.randrange(12, 88) / 10} %",
        "models": rng.randrange(9, 64),
        "share": f"{rng.randrange(28, 61)} %",
        "kinds": [kind.words[0] for kind in category.kinds],
        "materials": [material.words[0] for material in category.materials],
        "features": rng.sample(features, 2),
        "colours": rng.sample(category.colours, 2),
    }


def _guide(entry: Thing, makers: list[Thing], rng: Random) -> Thing:
    return {
        **entry,
        "name": entry["category"],
        "makers": [maker["name"] for maker in makers if maker["category"] == entry["category"]],
        "years": rng.randrange(3, 25),
        "interval": rng.randrange(2, 27),
        "example": rng.choice(list(entry["advice"])),
    }


def _store(entry: Thing, place: int, rng: Random) -> Thing:
    return {
        **entry,
        "founded": str(rng.randrange(1961, 2010)),
        "employees": f"{rng.randrange(120, 900)}",
        "return_days": (45, 30)[place],
        "refund_days": rng.randrange(3, 9),
        "restocking": ("none", "5 % of the price")[place],
        "standard": f"${rng.randrange(4, 8)}.90",
        "express": f"${rng.randrange(14, 25)}.50",
        "pallet": f"${rng.randrange(70, 130)}.00",
        "free_from": f"${rng.randrange(5, 12) * 10}",
        "standard_days": f"{rng.randrange(2, 4)} to {rng.randrange(5, 7)}",
        "cutoff": rng.randrange(11, 16),
        "plus": f"${rng.randrange(29, 60)}",
        "trade": f"${rng.randrange(90, 200)}",
    }


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files(__package__) / name).read_text(encoding="utf-8"))
