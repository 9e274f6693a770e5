-- What record.sql works on: filled by COPY, with names and values normalised. Postgres.
CREATE TEMP TABLE IF NOT EXISTS observed (
    subject text NOT NULL,
    attribute text NOT NULL,
    kind text NOT NULL,
    cardinality text NOT NULL,
    ttl interval,
    connector text,
    source text COLLATE "C" NOT NULL,
    valid_from timestamptz NOT NULL,
    observed_at timestamptz NOT NULL,
    stated text[] COLLATE "C" NOT NULL,
    chunk_id text,
    start_character integer,
    end_character integer
) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS wanted (
    subject text, attribute text, kind text, cardinality text, ttl interval, connector text
) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS locked (
    series_id bigint, subject text, attribute text, changed boolean
) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS added (
    series_id bigint, source text COLLATE "C", valid_from timestamptz, observed_at timestamptz,
    stated text[] COLLATE "C"
) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS folding (
    series_id bigint, held text[], simple boolean NOT NULL DEFAULT false
) ON COMMIT DROP;
CREATE TEMP TABLE IF NOT EXISTS outcome (
    series bigint, new bigint[], versions bigint
) ON COMMIT DROP;
TRUNCATE
    pg_temp.observed, pg_temp.wanted, pg_temp.locked, pg_temp.added, pg_temp.folding,
    pg_temp.outcome;
