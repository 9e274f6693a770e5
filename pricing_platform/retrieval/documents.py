"""Documents: ``knowledge.documents`` follows the files of the configured folders.

Here belong finding the files, what a document is called, and keeping the table. Turning bytes into
text belongs to ``document_text``; what is made of a document belongs to ``chunking`` and the facts.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import psycopg
import pydantic
from psycopg import sql

from pricing_platform.errors import PlatformError
from pricing_platform.retrieval.document_dates import dates_in, document_date
from pricing_platform.retrieval.document_text import (
    NAME_LIMIT,
    DocumentText,
    Heading,
    NotText,
    normalise_subject,
    read_text,
    shortened,
)
from pricing_platform.retrieval.reconciliation import copy_rows, hold
from pricing_platform.stores.postgres import Postgres

__all__ = [
    "NAME_LIMIT",
    "Document",
    "DocumentFolder",
    "DocumentsSummary",
    "hold_documents",
    "normalise_subject",
    "reconcile_documents",
]

DOCUMENTS_VERSION = "4"
"""Raised when the same files would give other documents."""

_HTML = (".html", ".htm")
_SUFFIXES = (".md", ".markdown", ".txt", *_HTML)
_LARGEST_BYTES = 32 << 20
_FEW = 5  # of fewer documents, one may always go as long as others stay
_EMBEDDINGS = "knowledge.chunk_embeddings"
_WORD = re.compile(r"[^\W_]+")
_COPY = re.compile(
    r"(?:v|ver|version|rev|revision|copy|kopie|part)?\d*|[a-z]|old|new|alt|neu|draft|final|current"
)
_CLOCKS_DIFFER = "5 minutes"


class DocumentFolder(pydantic.BaseModel):
    """A source of documents.

    ``path`` holds absolute globs or folders; a folder means all Markdown, plain text and HTML
    below it. What documents are called begins at ``root``.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    name: str = pydantic.Field(pattern=r"^[a-z0-9_]+$")
    path: tuple[str, ...]
    root: Path


@dataclass(frozen=True)
class Document:
    """One row of ``knowledge.documents``, but for its times.

    ``document_id`` is the source and the path; ``kind`` the folder that the file lies in (the
    source at the top), or what the front matter says; ``content`` Markdown without front matter;
    ``content_hash`` the sha256 of the file. Title and subject have at most ``NAME_LIMIT``
    characters. ``topic`` is what copies of a document share, the subject without its date or
    the heading of all, and ``dated`` the date that the document gives itself, as
    ``document_dates`` has it.
    """

    document_id: str
    source: str
    path: str
    kind: str
    title: str
    subject: str
    content: str
    content_hash: str
    topic: str = ""
    dated: str | None = None


@dataclass(frozen=True)
class DocumentsSummary:
    """What a reconciliation did, in documents.

    ``told`` are files that were refused, mended, moved or are doubled: (document, reason).
    """

    inserted: int
    updated: int
    unchanged: int
    deleted: int
    told: list[tuple[str, str]]


def reconcile_documents(
    postgres: Postgres,
    folders: Sequence[DocumentFolder],
    *,
    deletion_share_limit: float,
    now: datetime | None = None,
    paths: Sequence[str] | None = None,
) -> DocumentsSummary:
    """Makes ``knowledge.documents`` what the files say, in one transaction.

    What vanished or holds no text any more is deleted; what can't be read stays as it was. Times
    never go backwards: a changed document is seen after what it replaces, whatever the clock says,
    unless that lies so far in the future that the clock was wrong then: it is brought back to now.

    Of each source, no larger share than the limit may be lost at once: deleted without coming back
    under another name, or shortened to less than a tenth where there are five documents or more.
    Of fewer than five, one may always go as long as another stays.

    Args:
        now: when the files are read; by default the clock's time.
        paths: ids of the only documents to look at; all by default.

    Raises:
        PlatformError: when more would be lost; nothing is changed then.
    """
    with postgres.connection() as connection:
        # Before the files are read, so that what was read first is written first; and so that no
        # document goes while its chunks are made.
        hold_documents(connection)
        seen_at = now or datetime.now(UTC)
        found = _read_folders(folders, None if paths is None else frozenset(paths))
        _stage(connection, found, None if paths is None else list(paths))
        _guard(connection, deletion_share_limit)
        told = [*found.told, *_moved(connection)]
        deleted = connection.execute(
            "DELETE FROM knowledge.documents AS d USING gone AS g"
            " WHERE d.document_id = g.document_id"
        ).rowcount
        connection.execute(_SET_RIGHT, {"now": seen_at, "paths": paths and list(paths)})
        updated = connection.execute(_UPDATE, {"now": seen_at}).rowcount
        connection.execute(_VERIFY, {"now": seen_at})
        inserted = connection.execute(_INSERT, {"now": seen_at}).rowcount
        told += _doubled(connection)
    unchanged = len(found.documents) - inserted - updated
    return DocumentsSummary(inserted, updated, unchanged, deleted, sorted(told))


def hold_documents(connection: psycopg.Connection[Any]) -> None:
    """Until the end of the transaction documents and their chunks change by it alone."""
    hold(connection, _EMBEDDINGS)


_COLUMNS = ", ".join(column.name for column in fields(Document))
# To just before now: what is seen now is verified after that, and what can't be read is not.
_SET_RIGHT = f"""
UPDATE knowledge.documents SET
    observed_at = least(observed_at, %(now)s - interval '1 microsecond'),
    verified_at = %(now)s - interval '1 microsecond'
WHERE verified_at > greatest(%(now)s, clock_timestamp()) + interval '{_CLOCKS_DIFFER}'
    AND (%(paths)s::text[] IS NULL OR document_id = ANY(%(paths)s))
"""
_UPDATE = """
UPDATE knowledge.documents AS d SET
    kind = s.kind, title = s.title, subject = s.subject, content = s.content,
    content_hash = s.content_hash, topic = s.topic, dated = s.dated,
    observed_at = CASE
        WHEN (d.content, d.content_hash) = (s.content, s.content_hash) THEN d.observed_at
        ELSE greatest(%(now)s, d.verified_at + interval '1 microsecond')
    END,
    verified_at = CASE
        WHEN (d.content, d.content_hash) = (s.content, s.content_hash)
        THEN greatest(%(now)s, d.verified_at)
        ELSE greatest(%(now)s, d.verified_at + interval '1 microsecond')
    END
FROM seen AS s
WHERE d.document_id = s.document_id
    AND (d.kind, d.title, d.subject, d.content, d.content_hash, d.topic, d.dated)
    IS DISTINCT FROM (
        s.kind, s.title, s.subject, s.content, s.content_hash, s.topic, s.dated
    )
"""
_VERIFY = """
UPDATE knowledge.documents AS d SET verified_at = %(now)s
FROM seen AS s WHERE d.document_id = s.document_id AND d.verified_at < %(now)s
"""
_INSERT = f"""
INSERT INTO knowledge.documents ({_COLUMNS}, observed_at, verified_at)
SELECT {_COLUMNS}, %(now)s, %(now)s FROM seen AS s
WHERE NOT EXISTS (SELECT FROM knowledge.documents AS d WHERE d.document_id = s.document_id)
ORDER BY s.document_id
"""
_GONE = """
CREATE TEMP TABLE gone ON COMMIT DROP AS
SELECT d.document_id, d.content_hash, (
    SELECT min(n.document_id) FROM seen AS n
    WHERE n.content_hash = d.content_hash AND NOT EXISTS (
        SELECT FROM knowledge.documents AS o
        WHERE (o.document_id, o.content_hash) = (n.document_id, n.content_hash)
    )
) AS moved_to
FROM knowledge.documents AS d
WHERE NOT EXISTS (SELECT FROM seen AS s WHERE s.document_id = d.document_id)
    AND (%(paths)s::text[] IS NULL OR d.document_id = ANY(%(paths)s))
    AND d.document_id <> ALL(%(refused)s)
    AND NOT EXISTS (
        SELECT FROM unnest(%(hidden)s::text[]) AS h (prefix)
        WHERE starts_with(d.document_id, h.prefix)
    )
"""
_LOST = """
SELECT source, total, vanished + CASE WHEN total < %s THEN 0 ELSE shortened END AS lost FROM (
    SELECT
        d.source, count(*) AS total,
        count(*) FILTER (WHERE g.document_id IS NOT NULL AND g.moved_to IS NULL) AS vanished,
        count(*) FILTER (WHERE 10 * length(s.content) < length(d.content)) AS shortened
    FROM knowledge.documents AS d
    LEFT JOIN gone AS g USING (document_id)
    LEFT JOIN seen AS s USING (document_id)
    GROUP BY d.source
) AS counted ORDER BY source
"""
_DOUBLED = """
SELECT document_id, first FROM (
    SELECT document_id, min(document_id) OVER (PARTITION BY content_hash) AS first
    FROM knowledge.documents
) AS d JOIN seen USING (document_id) WHERE first <> document_id
"""


@dataclass
class _Found:
    """What the folders hold; ``hidden`` are beginnings of ids that could not be looked at."""

    documents: list[Document] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    path: str
    text: DocumentText
    content_hash: str


def _stage(connection: psycopg.Connection[Any], found: _Found, paths: Sequence[str] | None) -> None:
    """What was seen and what is gone, as temporary tables."""
    names = [column.name for column in fields(Document)]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE seen ON COMMIT DROP AS"
            " SELECT {} FROM knowledge.documents WITH NO DATA"
        ).format(columns)
    )
    copy_rows(
        connection,
        sql.SQL("COPY seen ({}) FROM STDIN (FORMAT BINARY)").format(columns),
        ["text"] * len(names),
        map(astuple, found.documents),
    )
    connection.execute("ANALYZE seen")
    connection.execute(_GONE, {"paths": paths, "refused": found.refused, "hidden": found.hidden})


def _guard(connection: psycopg.Connection[Any], limit: float) -> None:
    for source, total, lost in connection.execute(_LOST, [_FEW]).fetchall():
        if lost <= limit * total or (lost == 1 < total < _FEW):
            continue
        raise PlatformError(
            f"{lost:,} of the {total:,} documents of {source} ({lost / total:.0%}) are gone or"
            f" nearly empty, and at most {limit:.0%} may be lost at once. Nothing was changed.",
            "Look whether the folder is missing or empty. If they are to go, run once with"
            f" PRICING_DELETION_SHARE_LIMIT={min(1.0, lost / total + 0.005):.2f}.",
        )


def _moved(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    rows = connection.execute(
        "SELECT moved_to, min(document_id) FROM gone WHERE moved_to IS NOT NULL GROUP BY 1"
    ).fetchall()
    return [(new, f"was {old} before") for new, old in rows]


def _doubled(connection: psycopg.Connection[Any]) -> list[tuple[str, str]]:
    rows = connection.execute(_DOUBLED).fetchall()
    return [(document_id, f"has the same content as {first}") for document_id, first in rows]


def _read_folders(folders: Sequence[DocumentFolder], wanted: Collection[str] | None) -> _Found:
    found = _Found()
    for folder in folders:
        _read_folder(folder, wanted, found)
    return found


def _read_folder(folder: DocumentFolder, wanted: Collection[str] | None, found: _Found) -> None:
    """Reads the folder's documents; of those that are not wanted only what titles depend on."""
    files = _files(folder, found)
    if wanted is not None:
        parents = {_parent(path) for path in files if _id(folder, path) in wanted}
        files = {path: file for path, file in files.items() if _parent(path) in parents}
    siblings: defaultdict[str, list[_File]] = defaultdict(list)
    for path, file in sorted(files.items()):
        document_id = _id(folder, path)
        is_wanted = wanted is None or document_id in wanted
        try:
            read = _read(folder, path, file)
        except FileNotFoundError:  # since it was listed
            continue
        except (NotText, OSError, RuntimeError) as error:
            if is_wanted:
                found.refused.append(document_id)
                found.told.append((document_id, f"{_reason(error)}; it stays as it was"))
            continue
        if is_wanted:
            found.told += [(document_id, reason) for reason in read.text.told]
        if read.text.content:
            siblings[_parent(path)].append(read)
        elif is_wanted:
            found.told.append((document_id, "holds no text and is left out"))
    for parent in siblings.values():
        shared = _shared(parent)
        for read in parent:
            document, told = _document(folder, read, shared, len(parent))
            if wanted is None or document.document_id in wanted:
                found.documents.append(document)
                found.told += [(document.document_id, reason) for reason in told]


def _files(folder: DocumentFolder, found: _Found) -> dict[str, Path]:
    """The files that the folder's patterns mean, by their path below its root."""
    files: dict[str, Path] = {}
    for pattern in folder.path:
        before = len(files)
        for match in _matches(pattern):
            for file in _below(match, folder, found):
                if not file.is_relative_to(folder.root):
                    found.told.append((f"{folder.name}:{file}", f"is not below {folder.root}"))
                    continue
                path = file.relative_to(folder.root).as_posix()
                if path.isprintable():
                    files[path] = file
                else:
                    shown = path.encode("utf-8", "backslashreplace").decode()
                    found.told.append((f"{folder.name}:{shown}", "has an unreadable name"))
        if len(files) == before:
            found.told.append((folder.name, f"has no documents at {pattern}"))
    return files


def _matches(pattern: str) -> list[str]:
    if Path(pattern).is_dir():
        return [pattern]
    return sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (the pattern is absolute)


def _below(match: str, folder: DocumentFolder, found: _Found) -> Iterator[Path]:
    """The file itself, or the documents below the folder, hidden ones left out."""
    if not Path(match).is_dir():
        yield Path(match)
        return

    def cannot_list(error: OSError) -> None:
        place = Path(error.filename)
        below = place.is_relative_to(folder.root) and place != folder.root
        prefix = f"{place.relative_to(folder.root).as_posix()}/" if below else ""
        found.hidden.append(_id(folder, prefix))
        found.told.append((_id(folder, prefix), f"{_reason(error)}; it stays as it was"))

    for parent, names, files in os.walk(match, onerror=cannot_list):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(_SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _read(folder: DocumentFolder, path: str, file: Path) -> _File:
    """The file's text.

    Raises:
        NotText, OSError, RuntimeError: when it is not to be read or can't be.
    """
    if file.is_symlink() or file.resolve() != file:
        target = file.resolve(strict=True)
        if not target.is_relative_to(folder.root.resolve()):
            raise NotText("is a link that leads out of the folder")
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise NotText("is not an ordinary file")
    if status.st_size > _LARGEST_BYTES:
        raise NotText(f"is larger than {_LARGEST_BYTES >> 20} MB")
    data = file.read_bytes()
    text = read_text(data, html=file.suffix.lower() in _HTML)
    return _File(path, text, hashlib.sha256(data).hexdigest())


def _document(
    folder: DocumentFolder, read: _File, shared: Counter[str], documents: int
) -> tuple[Document, tuple[str, ...]]:
    """The document, and what has to be told of its date."""
    metadata, place = read.text.metadata, PurePosixPath(read.path)
    heading = _heading(read, shared, documents)
    own = metadata.get("title") or heading or metadata.get("page_title")
    title = own or place.stem
    subject = normalise_subject(metadata.get("subject") or title)
    subject = subject or normalise_subject(place.stem) or read.path
    subject = normalise_subject(shortened(subject)) or shortened(subject)
    # What others are called too is no name, but what all of them are about.
    is_shared = not own and bool(read.text.headings)
    topic = normalise_subject(read.text.headings[0].text) if is_shared else subject
    date = document_date(
        read.path, title, shortened(topic), read.text.content, metadata.get("date")
    )
    document = Document(
        document_id=_id(folder, read.path),
        source=folder.name,
        path=read.path,
        kind=metadata.get("kind") or place.parent.name or folder.name,
        title=shortened(title),
        subject=subject,
        content=read.text.content,
        content_hash=read.content_hash,
        topic=date.topic,
        dated=date.dated,
    )
    return document, date.told


def _shared(files: Sequence[_File]) -> Counter[str]:
    """In how many of the files, copies counted once, each of their leading headings stands."""
    different = {read.content_hash: read for read in files}
    return Counter(
        text
        for read in different.values()
        for text in {normalise_subject(heading.text) for heading in read.text.headings}
    )


def _heading(read: _File, shared: Counter[str], documents: int) -> str | None:
    """The leading heading that is the document's own: the highest that no other document shares.

    Where others share all of them, the rarest, unless it is as common as the rest and the file is
    named after something else. Of several of one level it is the one that the file is named after,
    or else the last.
    """
    counts = {heading: shared[normalise_subject(heading.text)] for heading in read.text.headings}
    if not counts:
        return None
    rarest, most = min(counts.values()), max(counts.values())
    if rarest > 1 and rarest == most and 2 * rarest >= documents:
        return next((h.text for h in counts if _is_copy_of(read.path, h.text)), None)
    own = [heading for heading, count in counts.items() if count == rarest]
    top = min(heading.level for heading in own)
    own = [heading for heading in own if heading.level == top]
    name = normalise_subject(PurePosixPath(read.path).stem)
    named: list[Heading] = [h for h in own if normalise_subject(h.text) == name]
    return (named or own)[-1].text


def _is_copy_of(path: str, heading: str) -> bool:
    """Whether a file's name says no more than a heading and which copy it is: ``returns-2023``."""
    name = PurePosixPath(path).stem.casefold()
    for _, (start, end) in reversed(list(dates_in(name))):
        name = f"{name[:start]} {name[end:]}"
    named, said = set(_WORD.findall(name)), set(_WORD.findall(heading.casefold()))
    return bool(named & said) and all(map(_COPY.fullmatch, named - said))


def _id(folder: DocumentFolder, path: str) -> str:
    return f"{folder.name}:{path}"


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return "is a link that leads to itself" if isinstance(error, RuntimeError) else str(error)
