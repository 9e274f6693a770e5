-- What was ever true of a subject, as far as we know today? Each value of each attribute, with when
-- it held, since when we have known so, and who said it first. No end: it still holds.
-- Postgres; %(subject)s: the subject in any case, as "Kvist Acoustics".
SELECT
    attribute,
    value,
    valid_from,
    valid_until,
    known_from,
    source,
    kind
FROM knowledge.fact_history
WHERE subject = lower(trim(%(subject)s)) AND known_until IS NULL
ORDER BY attribute, valid_from DESC, value;
