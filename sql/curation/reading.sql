-- Macros that every format of sql/sources may use.

-- A JSON object as a map of texts. The slow branch is for objects that repeat a key: the first
-- value counts.
CREATE OR REPLACE TEMP MACRO json_map(object) AS
    CASE
        WHEN json_type(object) = 'OBJECT' THEN coalesce(
            from_json(object, '"MAP(VARCHAR, VARCHAR)"'),
            map_from_entries(
                list_transform(
                    list_sort(list_distinct(json_keys(object))),
                    lambda k: struct_pack(k := k, v := object ->> ('$."' || replace(k, '"', '\"') || '"'))
                )
            )
        )
    END;

-- Entries (as map_entries gives them) as a map, without these keys and without empty values.
CREATE OR REPLACE TEMP MACRO map_of(entries, without := []) AS
    map_from_entries(
        list_filter(
            entries,
            lambda e: NOT list_contains(without, e.key)
                AND trim(coalesce(e.value, '')) NOT IN ('', 'null')
        )
    );

-- The digits of a text that is one price and nothing else.
CREATE OR REPLACE TEMP MACRO price_digits(published) AS
    regexp_extract(
        published,
        '^\s*(?i:from|only|now)?\s*(?i:usd|eur|gbp|cad|aud|us\$|[$€£])?\s*(-?\d[\d.,]*?)\s*(?i:usd|eur|gbp|cad|aud|[$€£])?\s*$',
        1
    );

-- A price as published ('12.99', '$1,299.00', 'from 12.99', '12,99 €', '1.299,00 EUR') as a number;
-- null where the text holds no number, or more than one.
CREATE OR REPLACE TEMP MACRO price_number(published) AS
    CASE
        WHEN isfinite(TRY_CAST(published AS DOUBLE)) THEN TRY_CAST(published AS DOUBLE)
        WHEN TRY_CAST(published AS DOUBLE) IS NULL THEN TRY_CAST(
            CASE
                WHEN regexp_matches(price_digits(published), '^-?\d+,\d{1,2}$|^-?\d{1,3}(\.\d{3})+,\d+$')
                    THEN replace(replace(price_digits(published), '.', ''), ',', '.')
                ELSE replace(price_digits(published), ',', '')
            END AS DOUBLE
        )
    END;

-- A point in time as published: ISO 8601, or seconds or milliseconds since 1970.
CREATE OR REPLACE TEMP MACRO point_in_time(published) AS
    coalesce(
        TRY_CAST(published AS TIMESTAMPTZ),
        TRY(to_timestamp(
            TRY_CAST(published AS DOUBLE) / CASE WHEN TRY_CAST(published AS DOUBLE) > 1e11 THEN 1000 ELSE 1 END
        ))
    );

-- The value of a field that `columns` in sources.toml maps to a column of the file.
CREATE OR REPLACE TEMP MACRO mapped(record, field) AS record ->> (getvariable('columns')[field]);
