-- What was refused, and why? Refused rows by source and rule, with their share of the source's rows
-- and one example.
-- DuckDB; no parameters.
WITH read AS (
    SELECT source, sum(row_count) AS row_count FROM raw.snapshots GROUP BY source
)
SELECT
    rejected.source,
    rejected.rule,
    count(*) AS rejected_rows,
    round(100 * count(*) / any_value(read.row_count), 2) AS percent_of_rows,
    arg_min(rejected.detail, (rejected.snapshot, rejected.row_number)) AS example
FROM curated.rejected_listings AS rejected
LEFT JOIN read ON read.source = rejected.source
GROUP BY rejected.source, rejected.rule
ORDER BY rejected.source, rejected_rows DESC, rejected.rule;
