"""Facts that documents state: the folders that they come from are read again.

All folders are read together, once: only of a whole folder can it be said that too much of it is
gone. Reading and extracting belong to :mod:`pricing_platform.retrieval.documents` and
:mod:`pricing_platform.facts.document_statements`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pricing_platform.errors import PlatformError
from pricing_platform.facts.connectors.recording import Held, held_values, recorded_answer
from pricing_platform.facts.document_statements import CONNECTOR, observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.refresh import Answer, DueSeries
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres


@dataclass(frozen=True)
class _Looked:
    """What held before and after; ``unread`` are documents that could not be read, and why."""

    before: Held
    after: Held
    unread: Mapping[str, str]


class DocumentFolderConnector:
    """Reads the folders at the first series that it is asked for, and records what they state now.

    So each refresh has one of its own. ``told`` are files that were refused or mended, with the
    reason, as far as it has looked.
    """

    name = CONNECTOR

    def __init__(
        self,
        postgres: Postgres,
        folders: Sequence[DocumentFolder],
        rules: FactRules,
        deletion_share_limit: float,
    ) -> None:
        self.told: tuple[tuple[str, str], ...] = ()
        self._postgres = postgres
        self._folders = folders
        self._rules = rules
        self._deletion_share_limit = deletion_share_limit
        self._names = frozenset(folder.name for folder in folders)
        self._looked: _Looked | PlatformError | None = None

    def ask(self, due: Sequence[DueSeries]) -> Iterator[Answer]:
        """One answer a series; one of which a document could not be read is a failure.

        Raises:
            PlatformError: when too many documents are gone at once; nothing is changed then, and
                whatever else is asked for fails for the same reason.
        """
        started = time.perf_counter()
        documents = [self._documents(series) for series in due]
        looked = self._look() if any(documents) else _Looked({}, {}, {})
        seconds = (time.perf_counter() - started) / len(due)
        for series, sources in zip(due, documents, strict=True):
            source = sources[0] if sources else self.name
            answer = recorded_answer(series, source, looked.before, looked.after, seconds)
            failures = [
                f"{name} {looked.unread[name]}." for name in sources if name in looked.unread
            ]
            if not sources:
                failures = ["None of the configured folders holds a document that states it."]
            if failures:
                answer = replace(answer, failure=failures[0], recorded=None)
            yield answer

    def _documents(self, series: DueSeries) -> list[str]:
        return [source for source in series.sources if source.partition(":")[0] in self._names]

    def _look(self) -> _Looked:
        if self._looked is None:
            try:
                self._looked = self._read_again()
            except PlatformError as error:
                self._looked = error
        if isinstance(self._looked, PlatformError):
            raise self._looked
        return self._looked

    def _read_again(self) -> _Looked:
        """Brings all documents and their facts up to date."""
        started = datetime.now(UTC)
        before = held_values(self._postgres, self.name)
        summary = reconcile_documents(
            self._postgres,
            self._folders,
            deletion_share_limit=self._deletion_share_limit,
            now=started,
        )
        self.told = tuple(summary.told)
        observe_documents(self._postgres, self._rules)
        with self._postgres.connection(read_only=True) as connection:
            rows = connection.execute(
                "SELECT document_id FROM knowledge.documents WHERE verified_at < %s", [started]
            ).fetchall()
        reasons = dict(summary.told)
        unread = {row[0]: reasons.get(row[0], "could not be read") for row in rows}
        return _Looked(before, held_values(self._postgres, self.name), unread)
