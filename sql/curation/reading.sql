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
-- null where the text holds no number, or more than one. Plain numbers are what they are. Of others,
-- one separator before exactly three digits may part the thousands or the decimals: '$1,299' and
-- '1,299' are thousands, since a price has no three decimals; '1.299 €', '$1.299' and '1,299 €' may
-- be either and are no number. A factor of 1000 is worse than a row less.
CREATE OR REPLACE TEMP MACRO price_number(published) AS
    CASE
        WHEN isfinite(TRY_CAST(published AS DOUBLE)) THEN TRY_CAST(published AS DOUBLE)
        WHEN TRY_CAST(published AS DOUBLE) IS NULL THEN TRY_CAST(
            CASE
                WHEN regexp_matches(price_digits(published), '^-?[1-9]\d{0,2}\.\d{3}$') THEN NULL
                WHEN regexp_matches(price_digits(published), '^-?[1-9]\d{0,2},\d{3}$')
                    AND regexp_matches(published, '(?i)(?:eur|€)\s*$') THEN NULL
                WHEN regexp_matches(price_digits(published), '^-?\d+,\d{1,2}$|^-?0,\d+$|^-?\d{1,3}(\.\d{3})+,\d+$')
                    THEN replace(replace(price_digits(published), '.', ''), ',', '.')
                WHEN regexp_matches(price_digits(published), '^-?\d{1,3}(\.\d{3}){2,}$')
                    THEN replace(price_digits(published), '.', '')
                WHEN regexp_matches(price_digits(published), '^-?\d{1,3}(,\d{2,3})*,\d{3}(\.\d*)?$')
                    THEN replace(price_digits(published), ',', '')
                WHEN NOT contains(price_digits(published), ',') THEN price_digits(published)
            END AS DOUBLE
        )
    END;

-- Whether the sign or code beside a price may stand for the currency; without either it may. A
-- dollar sign stands for every currency that is a dollar or a peso, a code for itself only.
CREATE OR REPLACE TEMP MACRO is_price_in(published, currency) AS
    CASE
        WHEN NOT regexp_matches(published, '[^\d\s.,-]') THEN true
        WHEN regexp_matches(published, '(?i)usd|eur|gbp|cad|aud')
            THEN contains(upper(published), currency)
        WHEN contains(lower(published), 'us$') THEN currency = 'USD'
        WHEN contains(published, '€') THEN currency = 'EUR'
        WHEN contains(published, '£') THEN currency = 'GBP'
        WHEN contains(published, '$') THEN currency IN (
            'USD', 'CAD', 'AUD', 'NZD', 'SGD', 'HKD', 'TWD', 'MXN', 'ARS', 'CLP', 'COP', 'UYU', 'DOP',
            'BBD', 'BMD', 'BND', 'BSD', 'BZD', 'FJD', 'GYD', 'JMD', 'KYD', 'LRD', 'NAD', 'SBD', 'SRD',
            'TTD', 'XCD', 'BRL', 'NIO'
        )
        ELSE true
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
