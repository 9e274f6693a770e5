-- What is stale, and since when? Current facts that were not verified within their time to live,
-- those overdue for longest first, with what went wrong with the last check, if anything did.
-- Postgres; %(count)s: how many to show.
SELECT
    subject,
    attribute,
    kind,
    value,
    source,
    freshness,
    verified_at,
    stale_since,
    overdue,
    connector,
    next_check_at,
    failures,
    last_failure
FROM knowledge.stale_facts
ORDER BY stale_since, subject, attribute, value
LIMIT %(count)s;
