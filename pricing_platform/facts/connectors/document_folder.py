"""Facts that documents state: the documents that they come from are read again.

Each document is read once for all the facts that come from it. Where one has vanished, all folders
are looked at, for it may have another name now. Reading and extracting belong to
:mod:`pricing_platform.retrieval.documents` and :mod:`pricing_platform.facts.documents`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pricing_platform.facts.connectors.recording import held_values, recorded_answer
from pricing_platform.facts.documents import observe_documents
from pricing_platform.facts.kinds import FactRules
from pricing_platform.facts.refresh import Answer, DueSeries
from pricing_platform.retrieval.documents import DocumentFolder, reconcile_documents
from pricing_platform.stores.postgres import Postgres

NAME = "document_folder"


class DocumentFolderConnector:
    """Reads the documents again that the due series come from, and records what they state now."""

    name = NAME

    def __init__(
        self,
        postgres: Postgres,
        folders: Sequence[DocumentFolder],
        rules: FactRules,
        deletion_share_limit: float,
    ) -> None:
        self._postgres = postgres
        self._folders = folders
        self._rules = rules
        self._deletion_share_limit = deletion_share_limit

    def ask(self, due: Sequence[DueSeries]) -> Iterator[Answer]:
        """One answer a series; one of which a document could not be read is a failure.

        Raises:
            PlatformError: when too many documents are gone at once; nothing is changed then.
        """
        started = time.perf_counter()
        documents = {source for series in due for source in self._documents(series)}
        before = held_values(self._postgres, self.name)
        unread = self._read_again(documents) if documents else {}
        after = held_values(self._postgres, self.name)
        seconds = (time.perf_counter() - started) / len(due)
        for series in due:
            sources = self._documents(series)
            answer = recorded_answer(
                series, sources[0] if sources else self.name, before, after, seconds
            )
            failures = [f"{source} {unread[source]}." for source in sources if source in unread]
            if not sources:
                failures = ["None of the configured folders holds a document that states it."]
            if failures:
                answer = replace(answer, failure=failures[0], recorded=None)
            yield answer

    def _documents(self, series: DueSeries) -> list[str]:
        return [source for source in series.sources if self._folder(source) is not None]

    def _folder(self, document_id: str) -> DocumentFolder | None:
        name = document_id.partition(":")[0]
        return next((folder for folder in self._folders if folder.name == name), None)

    def _read_again(self, documents: Collection[str]) -> dict[str, str]:
        """Brings the documents and their facts up to date; why some of them could not be read."""
        started = datetime.now(UTC)
        wanted: list[str] | None = sorted(documents)
        if any(not self._exists(document_id) for document_id in documents):
            wanted = None
        summary = reconcile_documents(
            self._postgres,
            self._folders,
            deletion_share_limit=self._deletion_share_limit,
            now=started,
            paths=wanted,
        )
        observe_documents(self._postgres, self._rules, document_ids=wanted)
        with self._postgres.connection(read_only=True) as connection:
            rows = connection.execute(
                "SELECT document_id FROM knowledge.documents"
                " WHERE document_id = ANY(%s) AND verified_at < %s",
                [sorted(documents), started],
            ).fetchall()
        told = dict(summary.told)
        return {row[0]: told.get(row[0], "could not be read") for row in rows}

    def _exists(self, document_id: str) -> bool:
        folder = self._folder(document_id)
        return folder is not None and (folder.root / document_id.partition(":")[2]).exists()
