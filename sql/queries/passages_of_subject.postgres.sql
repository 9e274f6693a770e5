-- What do the documents say about a subject? Passages of its own documents first, then those of
-- others that name it, the closest first, with how old the documents are.
-- Postgres; %(subject)s: the subject, as "Kvist Acoustics"; %(count)s: how many to show.
SELECT
    chunks.document_id,
    chunks.heading_path,
    chunks.subject = lower(trim(%(subject)s)) AS is_its_own,
    chunks.text,
    documents.verified_at,
    now() - documents.observed_at AS age
FROM knowledge.chunks AS chunks
JOIN knowledge.documents AS documents ON documents.document_id = chunks.document_id
WHERE chunks.subject = lower(trim(%(subject)s))
    OR chunks.lexemes @@ phraseto_tsquery((SELECT language::regconfig FROM knowledge.corpus), %(subject)s)
ORDER BY
    is_its_own DESC,
    ts_rank(chunks.lexemes, phraseto_tsquery((SELECT language::regconfig FROM knowledge.corpus), %(subject)s), 1) DESC,
    chunks.document_id,
    chunks.ordinal
LIMIT %(count)s;
