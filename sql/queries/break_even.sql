-- After how many estimates has fine-tuning paid? Against techniques that show a context with every
-- product: by the time that is saved, and by USD where tokens or cores have a price.
-- DuckDB; no parameters.
SELECT
    technique,
    compared_with,
    batch_size,
    round(training_seconds, 1) AS training_seconds,
    round(seconds_saved_per_1000, 1) AS seconds_saved_per_1000,
    estimates,
    CASE
        WHEN estimates IS NOT NULL
            THEN 'after ' || format('{:,}', estimates::BIGINT) || ' estimates'
        WHEN seconds_saved_per_1000 IS NULL THEN 'not comparable'
        ELSE 'never: it is no faster'
    END AS told,
    round(training_usd, 4) AS training_usd,
    round(usd_saved_per_1000, 4) AS usd_saved_per_1000,
    estimates_usd
FROM evaluation.break_even
ORDER BY technique, compared_with, batch_size;
