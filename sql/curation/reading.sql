-- Macros that every format of sql/sources may use.

-- Entries of which each key stands once, with its first value: what map_from_entries takes.
CREATE OR REPLACE TEMP MACRO first_of_each(entries) AS
    list_transform(
        [entries],
        lambda all_of_them: list_filter(
            all_of_them,
            lambda e, place:
                list_position(list_transform(all_of_them, lambda o: o.key), e.key) = place
        )
    )[1];

-- A JSON object as a map of texts. The slow branch is for objects that repeat a key: the first
-- value counts.
CREATE OR REPLACE TEMP MACRO json_map(object) AS
    CASE
        WHEN json_type(object) = 'OBJECT' THEN coalesce(
            from_json(object, '"MAP(VARCHAR, VARCHAR)"'),
            map_from_entries(list_sort(first_of_each(list_transform(
                list_zip(json_keys(object), object ->> '$.*'),
                lambda e: {'key': e[1], 'value': e[2]}
            ))))
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

-- The fields of a record that hold something, by their names in lower case with _ for blanks and
-- without a prefix of XML ('g:Image Link' is image_link). Of two of one name the first counts.
CREATE OR REPLACE TEMP MACRO filled_fields(record) AS
    map_from_entries(first_of_each(list_filter(
        list_transform(
            map_entries(json_map(record)),
            lambda e: {
                'key': replace(
                    regexp_replace(lower(trim(e.key)), '^\w+:(\w)', '\1'), ' ', '_'
                ),
                'value': trim(e.value)
            }
        ),
        lambda e: e.value NOT IN ('', 'null')
    )));

-- A published text with one kind of space and of apostrophe, and without a word that only leads to a
-- price and a dash that stands for no decimals ('ab 12 €', '12.- Fr.', '99,-').
CREATE OR REPLACE TEMP MACRO price_text_folded(published) AS
    regexp_replace(
        regexp_replace(
            trim(translate(
                regexp_replace(published, '[\s\x{a0}\x{2000}-\x{200f}\x{202f}\x{205f}\x{3000}\x{feff}]+', ' ', 'g'),
                '’ʼ′−–—', '''''''---'
            )),
            '(?i)^(?:from|only|now|ab|nur|jetzt|dès|desde|da|vanaf|från|fra|od) ', ''
        ),
        '(\d) ?[.,:]-{1,2}', '\1'
    );

-- Of a text that is one price and nothing else: what stands before its digits, and after them.
CREATE OR REPLACE TEMP MACRO price_parts(published) AS
    regexp_extract(
        price_text_folded(published),
        '^([^\d.,'']*(?:[^\d.,'' ]\.)?) ?([.,]?\d(?:[\d., '']*\d)?[.,]?) ?([^\d]*)$',
        ['before', 'digits', 'after']
    );

-- What is known of a mark; null for what is none.
CREATE OR REPLACE TEMP MACRO mark_told(beside) AS
    getvariable('currency_marks')[trim(translate(lower(beside), '-+', ''))];

-- What is known of the marks before and after the digits. Here alone it is looked up for a price:
-- every place that names the table of marks costs a copy of it for each 2,048 rows.
CREATE OR REPLACE TEMP MACRO marks_told(parts) AS
    {
        'has_before': trim(parts['before'], ' -+') <> '',
        'before': mark_told(parts['before']),
        'has_after': trim(parts['after'], ' -+') <> '',
        'after': mark_told(parts['after'])
    };

-- Digits with blanks or apostrophes between thousands ('1''299.50', '1 299,50') without them; null
-- where they part anything else.
CREATE OR REPLACE TEMP MACRO digits_joined(digits) AS
    CASE
        WHEN NOT regexp_matches(digits, '[ '']') THEN digits
        WHEN regexp_matches(digits, '^[1-9]\d{0,2}(?:[ '']\d{3})+(?:[.,]\d{1,2})?$')
            THEN regexp_replace(digits, '[ '']', '', 'g')
    END;

-- What digits with separators mean, as a text that is a number; null where they can be read in two
-- ways. `decimal_mark` is what the source declares, null where it declares nothing. Then one
-- separator before exactly three digits may part the thousands or the decimals: with
-- `groups_by_comma` a comma parts thousands, since a price has no three decimals; else it may be
-- either and is no number, unless the currency has none or three of them. A factor of 1000 is worse
-- than a row less.
CREATE OR REPLACE TEMP MACRO number_of_digits(digits, decimal_mark, groups_by_comma, decimals) AS
    CASE
        WHEN decimal_mark = ',' THEN CASE
            WHEN regexp_matches(digits, '^\d{1,3}(?:\.\d{3})*(?:,\d*)?$|^\d*,?\d+,?$')
                THEN replace(replace(digits, '.', ''), ',', '.')
        END
        WHEN decimal_mark = '.' THEN CASE
            WHEN regexp_matches(digits, '^\d{1,3}(?:(?:,\d{2})*,\d{3})?(?:\.\d*)?$|^\d*\.?\d+\.?$')
                THEN replace(digits, ',', '')
        END
        WHEN regexp_matches(digits, '^[1-9]\d{0,2}[.,]\d{3}$') THEN CASE
            WHEN decimals = 0 THEN replace(replace(digits, ',', ''), '.', '')
            WHEN decimals = 3 AND contains(digits, '.') THEN digits
            WHEN decimals = 2 AND groups_by_comma AND contains(digits, ',')
                THEN replace(digits, ',', '')
        END
        WHEN regexp_matches(digits, '^\d*,\d{1,2}$|^0,\d+$|^\d{1,3}(?:\.\d{3})+,\d+$')
            THEN replace(replace(digits, '.', ''), ',', '.')
        WHEN regexp_matches(digits, '^\d{1,3}(?:\.\d{3}){2,}$') THEN replace(digits, '.', '')
        WHEN regexp_matches(digits, '^\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?$')
            THEN replace(digits, ',', '')
        WHEN NOT contains(digits, ',') THEN digits
    END;

CREATE OR REPLACE TEMP MACRO price_of_parts(parts, marks, decimal_mark) AS
    CASE
        WHEN parts['digits'] = ''
            OR (marks['has_before'] AND marks['before'] IS NULL)
            OR (marks['has_after'] AND marks['after'] IS NULL)
            THEN NULL
        WHEN NOT marks['has_before'] AND NOT marks['has_after']
            THEN TRY_CAST(
                CASE WHEN contains(parts['before'] || parts['after'], '-') THEN '-' ELSE '' END
                || number_of_digits(digits_joined(parts['digits']), decimal_mark, true, 2) AS DOUBLE
            )
        ELSE TRY_CAST(
            CASE WHEN contains(parts['before'] || parts['after'], '-') THEN '-' ELSE '' END
            || number_of_digits(
                digits_joined(parts['digits']),
                decimal_mark,
                -- A euro sign stands first where English is written, and last elsewhere.
                coalesce(
                    marks['before']['groups_by_comma'] OR marks['before']['codes'] = ['EUR'], true
                )
                AND coalesce(marks['after']['groups_by_comma'], true),
                coalesce(marks['before']['decimals'], marks['after']['decimals'], 2)
            ) AS DOUBLE
        )
    END;

-- Whether a plain number has a full stop before exactly three digits: it may part thousands.
CREATE OR REPLACE TEMP MACRO may_part_thousands(published) AS
    regexp_full_match(published, '\s*[+-]?[1-9]\d{0,2}\.\d{3}\s*');

-- A price as published ('12.99', '$1,299.00', 'from 12.99', '12,99 zł', '1''299.00 CHF', '1 299 kr')
-- as a number; null where the text holds no number, or more than one, or one beside what is no sign
-- or code of a currency. Plain numbers are what they are, unless the source declares its decimals, or
-- `full_stop` says what one before exactly three digits is: 'either' (then there is no number) or
-- 'thousands', since the source's currency has no decimals.
CREATE OR REPLACE TEMP MACRO price_number(published) AS
    CASE
        WHEN published IS NULL THEN NULL
        WHEN getvariable('decimal_mark') IS NULL AND isfinite(TRY_CAST(published AS DOUBLE))
            AND NOT contains(published, '_')
            THEN CASE
                WHEN getvariable('full_stop') IS NULL
                    OR NOT may_part_thousands(published)
                    THEN TRY_CAST(published AS DOUBLE)
                WHEN getvariable('full_stop') = 'thousands'
                    THEN TRY_CAST(replace(published, '.', '') AS DOUBLE)
            END
        -- How most prices with more than a number are written, and what is read at once.
        WHEN getvariable('decimal_mark') IS NULL
            AND regexp_matches(published, '^(?:from )?[$€£]?\d+(?:\.\d{1,2})?$')
            THEN TRY_CAST(ltrim(published, 'from $€£') AS DOUBLE)
        WHEN regexp_matches(published, '["{}\[\]:]') THEN NULL
        WHEN TRY_CAST(published AS DOUBLE) IS NULL OR isfinite(TRY_CAST(published AS DOUBLE))
            -- Lambdas, so that parts and marks are found once and not wherever they are named.
            THEN list_transform(
                [price_parts(published)],
                lambda parts: list_transform(
                    [marks_told(parts)],
                    lambda marks: price_of_parts(parts, marks, getvariable('decimal_mark'))
                )[1]
            )[1]
    END;

-- What a column of currencies says, as a code: that which `declared` is, where a mark may stand for
-- it or nothing stands there; that of a mark which stands for one only; else the text in capitals.
CREATE OR REPLACE TEMP MACRO currency_code(published, declared) AS
    CASE
        WHEN published IS NULL OR upper(trim(published)) IN ('', declared) THEN declared
        -- A lambda, so that the mark is looked up once and not wherever it is named.
        ELSE list_transform(
            [mark_told(published)['codes']],
            lambda codes: CASE
                WHEN list_contains(codes, declared) THEN declared
                WHEN len(codes) = 1 THEN codes[1]
                ELSE upper(trim(published))
            END
        )[1]
    END;

-- Whether the sign or code beside a price may stand for the currency; without either it may. A
-- dollar sign stands for every currency that is a dollar or a peso, a code for itself only.
CREATE OR REPLACE TEMP MACRO is_mark_of(beside, currency) AS
    CASE
        WHEN trim(beside, ' -+') = '' OR upper(trim(beside, ' -+')) = currency THEN true
        ELSE coalesce(list_contains(mark_told(beside)['codes'], currency), false)
    END;

CREATE OR REPLACE TEMP MACRO is_price_in(published, currency) AS
    CASE
        WHEN published IS NULL THEN true
        WHEN NOT regexp_matches(published, '[^\d\s.,+-]') THEN true
        WHEN published[1] = '$' AND currency = 'USD' AND regexp_matches(published, '^.[\d.,]+$')
            THEN true
        WHEN price_parts(published)['digits'] = '' THEN true
        ELSE list_transform(
            [price_parts(published)],
            lambda parts: is_mark_of(parts['before'], currency)
                AND is_mark_of(parts['after'], currency)
        )[1]
    END;

-- A number as a point in time: seconds, milliseconds or microseconds since 1970, or days as Excel
-- counts them. The ranges do not touch: a year, a compact date or a price is none.
CREATE OR REPLACE TEMP MACRO time_of_number(number) AS
    CASE
        WHEN number >= 1e8 AND number < 1e11 THEN to_timestamp(number)
        WHEN number >= 1e11 AND number < 1e14 THEN to_timestamp(number / 1e3)
        WHEN number >= 1e14 AND number < 1e17 THEN to_timestamp(number / 1e6)
        WHEN number >= 20000 AND number < 80000
            THEN CAST(TIMESTAMP '1899-12-30' + to_seconds(round(number * 86400)) AS TIMESTAMPTZ)
    END;

-- '3/4/2026' with or without a time of day, as the column's other dates say that it is meant.
CREATE OR REPLACE TEMP MACRO time_of_parted(published, day_first) AS
    CASE
        WHEN day_first THEN try_strptime(replace(published, '-', '/'), [
            '%d/%m/%Y', '%d/%m/%Y %H:%M', '%d/%m/%Y %H:%M:%S', '%d/%m/%Y %I:%M %p',
            '%d/%m/%Y %I:%M:%S %p'
        ])
        WHEN NOT day_first THEN try_strptime(replace(published, '-', '/'), [
            '%m/%d/%Y', '%m/%d/%Y %H:%M', '%m/%d/%Y %H:%M:%S', '%m/%d/%Y %I:%M %p',
            '%m/%d/%Y %I:%M:%S %p'
        ])
    END;

-- A time of the years in which catalogues are kept; null for any other, which was misread: '26' is
-- the year 26 to a parser, and 'infinity' a time.
CREATE OR REPLACE TEMP MACRO time_of_catalogues(moment) AS
    list_filter(
        [moment],
        lambda m: m >= TIMESTAMPTZ '1990-01-01 00:00:00+00' AND m < TIMESTAMPTZ '2100-01-01 00:00:00+00'
    )[1];

-- A point in time as published: ISO 8601, compact ('20240327'), '27.03.2024', '27/03/2024' or
-- '3/27/2024', RFC 2822, with the month's name, or a number (see above). What names no zone is in
-- that of the connection. Null where it is none of them, and where day and month can't be told
-- apart: `day_first` says which comes first in a column, `date_format` how all of it is written.
CREATE OR REPLACE TEMP MACRO point_in_time(published) AS
    time_of_catalogues(CASE
        WHEN getvariable('date_format') IS NOT NULL
            THEN TRY_CAST(try_strptime(trim(published), getvariable('date_format')) AS TIMESTAMPTZ)
        WHEN regexp_full_match(trim(published), '\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?: ?(?:Z|[+-]\d{2}(?::?\d{2})?))?')
            THEN TRY_CAST(
                regexp_replace(trim(published), '(\d) ?([+-]\d{2})(\d{2})$', '\1\2:\3') AS TIMESTAMPTZ
            )
        WHEN regexp_full_match(trim(published), '\d{4}/\d{1,2}/\d{1,2}(?: \d{1,2}:\d{2}(?::\d{2})?)?')
            THEN TRY_CAST(try_strptime(
                trim(published), ['%Y/%m/%d', '%Y/%m/%d %H:%M', '%Y/%m/%d %H:%M:%S']
            ) AS TIMESTAMPTZ)
        WHEN regexp_full_match(trim(published), '(?:19|20)\d{6}(?:T?\d{6})?')
            THEN TRY_CAST(try_strptime(
                replace(trim(published), 'T', ''), ['%Y%m%d', '%Y%m%d%H%M%S']
            ) AS TIMESTAMPTZ)
        WHEN regexp_full_match(trim(published), '\d{1,2}\.\d{1,2}\.\d{4}(?:,? \d{1,2}:\d{2}(?::\d{2})?)?')
            THEN TRY_CAST(try_strptime(
                replace(trim(published), ',', ''),
                ['%d.%m.%Y', '%d.%m.%Y %H:%M', '%d.%m.%Y %H:%M:%S']
            ) AS TIMESTAMPTZ)
        WHEN regexp_matches(published, '^\s*\d{1,2}[/-]\d{1,2}[/-]\d{4}')
            THEN TRY_CAST(
                time_of_parted(trim(published), getvariable('day_first')) AS TIMESTAMPTZ
            )
        WHEN regexp_matches(published, '[A-Za-z]{3}.* [+-]\d{4}$|[A-Za-z]{3}.* (?:GMT|UTC|UT|Z)$')
            THEN try_strptime(
                regexp_replace(
                    regexp_replace(trim(published), '^[A-Za-z]{3,9}, ?', ''),
                    ' (?:GMT|UTC|UT|Z)$', ' +0000'
                ),
                ['%d %b %Y %H:%M:%S %z', '%d %b %Y %H:%M %z']
            )
        WHEN regexp_matches(published, '[A-Za-z]{3}')
            THEN TRY_CAST(try_strptime(
                regexp_replace(trim(published), '^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? ', ''),
                [
                    '%d %B %Y', '%d %b %Y', '%B %d, %Y', '%b %d, %Y', '%d-%b-%Y', '%d %b %Y %H:%M:%S',
                    '%d-%b-%Y %H:%M:%S', '%B %d, %Y %H:%M:%S', '%b %d, %Y %H:%M:%S'
                ]
            ) AS TIMESTAMPTZ)
        ELSE time_of_number(TRY_CAST(published AS DOUBLE))
    END);

-- The value of a field that `columns` in sources.toml maps to a column of the file.
CREATE OR REPLACE TEMP MACRO mapped(record, field) AS record ->> (getvariable('columns')[field]);
