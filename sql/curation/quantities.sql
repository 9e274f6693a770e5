-- Macros that make amounts comparable: how much of which unit a listing sells, and its model number.

-- What one of a unit is in the unit that stands for its kind: g, ml or m.
CREATE OR REPLACE TEMP MACRO unit_factor(name) AS
    MAP {
        'g': 1.0, 'gram': 1.0, 'kg': 1000.0, 'kilogram': 1000.0, 'mg': 0.001,
        'oz': 28.349523125, 'ounce': 28.349523125, 'lb': 453.59237, 'pound': 453.59237,
        'ml': 1.0, 'milliliter': 1.0, 'millilitre': 1.0, 'cl': 10.0, 'l': 1000.0, 'liter': 1000.0,
        'litre': 1000.0, 'floz': 29.5735295625, 'fluidounce': 29.5735295625, 'gallon': 3785.411784,
        'gal': 3785.411784, 'quart': 946.352946, 'qt': 946.352946, 'pint': 473.176473,
        'm': 1.0, 'meter': 1.0, 'metre': 1.0, 'cm': 0.01, 'mm': 0.001, 'inch': 0.0254,
        'ft': 0.3048, 'feet': 0.3048, 'foot': 0.3048, 'yd': 0.9144, 'yard': 0.9144
    }[name];

CREATE OR REPLACE TEMP MACRO unit_kind(name) AS
    CASE
        WHEN name IN ('g', 'gram', 'kg', 'kilogram', 'mg', 'oz', 'ounce', 'lb', 'pound') THEN 'g'
        WHEN name IN (
            'm', 'meter', 'metre', 'cm', 'mm', 'inch', 'ft', 'feet', 'foot', 'yd', 'yard'
        ) THEN 'm'
        WHEN unit_factor(name) IS NOT NULL THEN 'ml'
    END;

-- 'Fl. Oz' -> 'floz', 'inches' -> 'inch', 'lbs' -> 'lb'.
CREATE OR REPLACE TEMP MACRO unit_name(written) AS
    CASE
        WHEN written IN ('"', '”', '″') THEN 'inch'
        ELSE regexp_replace(
            replace(replace(lower(written), '.', ''), ' ', ''), '(inch)es$|^(.+[^s])s$', '\1\2'
        )
    END;

-- Weights and volumes come before lengths: 'coffee, 12 oz, 8 inch bag' sells ounces.
CREATE OR REPLACE TEMP MACRO amount_written(text) AS
    regexp_extract(
        text,
        '(\d+(?:[.,]\d+)?)[ -]?(?:((?i:fl\.? ?oz|fluid ounces?|oz|ounces?|lbs?|pounds?|kgs?|kilograms?|mg|grams?|ml|millilit(?:er|re)s?|cl|lit(?:er|re)s?|gallons?|gal|quarts?|qt|pints?)|[glL])\.?(?:[^\pL\d]|$))',
        ['number', 'unit']
    );

CREATE OR REPLACE TEMP MACRO length_written(text) AS
    regexp_extract(
        text,
        '(\d+(?:[.,]\d+)?)[ -]?(?:((?i:inch(?:es)?|cm|mm|met(?:er|re)s?|feet|foot|ft|yards?|yd)|m)\.?(?:[^\pL\d]|$)|(["”″]))',
        ['number', 'unit', 'mark']
    );

CREATE OR REPLACE TEMP MACRO pack_written(text) AS
    regexp_extract(
        text,
        '(?i)\b(?:pack|set|box|case|lot|bundle|bag|pair)s? of (\d{1,5})\b|\b(\d{1,5})[ -]?(?:packs?|pk|pcs?|pieces?|count|ct|units?|rolls|tablets|capsules|sheets?|pairs?)\b',
        ['of', 'number']
    );

CREATE OR REPLACE TEMP MACRO number_written(written) AS TRY_CAST(replace(written, ',', '.') AS DOUBLE);

-- What amount_written, pack_written and length_written found, as {quantity, unit} in g, ml, count or
-- m. A weight or a volume is multiplied by the pack count.
CREATE OR REPLACE TEMP MACRO quantity_of(amount, pack, length) AS
    CASE
        WHEN amount.unit <> '' THEN {
            'quantity': number_written(amount.number) * unit_factor(unit_name(amount.unit))
                * coalesce(nullif(number_written(pack.of || pack.number), 0), 1),
            'unit': unit_kind(unit_name(amount.unit))
        }
        WHEN number_written(pack.of || pack.number) > 0 THEN {
            'quantity': number_written(pack.of || pack.number), 'unit': 'count'
        }
        WHEN length.number <> '' THEN {
            'quantity': number_written(length.number)
                * unit_factor(unit_name(length.unit || length.mark)),
            'unit': 'm'
        }
    END;

-- The attributes that say how much a listing sells, as one text.
CREATE OR REPLACE TEMP MACRO quantity_attributes(entries) AS
    array_to_string(list_transform(list_filter(entries, lambda e: regexp_matches(
        e[1], '(?i)^(?:net |unit |package |pack |item )?(?:quantity|count|contents?|volume|capacity|size|weight)$|^number of (?:items|pieces)$|^amount$'
    ) AND NOT regexp_matches(e[1], '(?i)^(?:item|package) weight$')), lambda e: CASE
        WHEN regexp_full_match(e[2], '\d+') AND regexp_matches(e[1], '(?i)count|quantity|number of')
            THEN e[2] || ' count'
        ELSE e[2]
    END), ', ');

-- Letters and digits in capitals; null for what stands in place of a number.
CREATE OR REPLACE TEMP MACRO normalised_model_number(written) AS
    CASE
        WHEN regexp_matches(written, '\d')
            AND length(regexp_replace(written, '[^A-Za-z0-9]', '', 'g')) BETWEEN 3 AND 40
            THEN upper(regexp_replace(written, '[^A-Za-z0-9]', '', 'g'))
    END;

CREATE OR REPLACE TEMP MACRO model_number_in_attributes(entries) AS
    list_filter(entries, lambda e: regexp_matches(
        e[1], '(?i)^(?:(?:item|manufacturer|mfr)[ _])?(?:model|part)[ _]?(?:number|no\.?|#)?$|^mpn$'
    ))[1][2];

-- A word of capitals and digits that is long enough to be no standard, unit or series.
CREATE OR REPLACE TEMP MACRO model_number_in_title(title) AS
    CASE
        WHEN NOT regexp_matches(regexp_extract(
            title, '(?:^|[\s(,])([A-Z]{1,6}-?\d{3,}[A-Z0-9]*(?:[-/][A-Z0-9]+)*)(?:$|[\s),])', 1
        ), '^(?:DDR|PC|USB|SATA|PCIE|GTX|RTX|RX|GT|ISO|LGA|IP|EN|AM)\d|^.{0,6}$')
            THEN regexp_extract(
                title, '(?:^|[\s(,])([A-Z]{1,6}-?\d{3,}[A-Z0-9]*(?:[-/][A-Z0-9]+)*)(?:$|[\s),])', 1
            )
    END;
