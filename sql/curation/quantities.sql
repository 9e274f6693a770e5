-- Macros that make amounts comparable: how much of which unit a listing sells, and its model number.

-- Each written unit, in lower case without spaces and full stops, in the unit of its kind.
CREATE OR REPLACE TEMP TABLE units (name VARCHAR, unit VARCHAR, factor DOUBLE);
INSERT INTO units VALUES
    ('g', 'g', 1), ('gram', 'g', 1), ('grams', 'g', 1), ('mg', 'g', 0.001),
    ('kg', 'g', 1000), ('kgs', 'g', 1000), ('kilogram', 'g', 1000), ('kilograms', 'g', 1000),
    ('oz', 'g', 28.349523125), ('ounce', 'g', 28.349523125), ('ounces', 'g', 28.349523125),
    ('lb', 'g', 453.59237), ('lbs', 'g', 453.59237), ('pound', 'g', 453.59237),
    ('pounds', 'g', 453.59237),
    ('ml', 'ml', 1), ('milliliter', 'ml', 1), ('milliliters', 'ml', 1), ('millilitre', 'ml', 1),
    ('millilitres', 'ml', 1), ('cl', 'ml', 10), ('l', 'ml', 1000), ('liter', 'ml', 1000),
    ('liters', 'ml', 1000), ('litre', 'ml', 1000), ('litres', 'ml', 1000),
    ('floz', 'ml', 29.5735295625), ('fluidounce', 'ml', 29.5735295625),
    ('fluidounces', 'ml', 29.5735295625), ('gallon', 'ml', 3785.411784),
    ('gallons', 'ml', 3785.411784), ('gal', 'ml', 3785.411784), ('quart', 'ml', 946.352946),
    ('quarts', 'ml', 946.352946), ('qt', 'ml', 946.352946), ('pint', 'ml', 473.176473),
    ('pints', 'ml', 473.176473),
    ('m', 'm', 1), ('meter', 'm', 1), ('meters', 'm', 1), ('metre', 'm', 1), ('metres', 'm', 1),
    ('cm', 'm', 0.01), ('mm', 'm', 0.001), ('inch', 'm', 0.0254), ('inches', 'm', 0.0254),
    ('"', 'm', 0.0254), ('”', 'm', 0.0254), ('″', 'm', 0.0254), ('ft', 'm', 0.3048),
    ('feet', 'm', 0.3048), ('foot', 'm', 0.3048), ('yd', 'm', 0.9144), ('yard', 'm', 0.9144),
    ('yards', 'm', 0.9144);

CREATE OR REPLACE TEMP MACRO unit_name(written) AS replace(replace(lower(written), '.', ''), ' ', '');

-- A number beside a unit, with all that stands in it: '10-12', '1/2' and '1''000' are no number that
-- begins after the mark. Blanks that do not break part thousands, as apostrophes do; a plain blank may
-- stand between two numbers, unless the second begins with 0. A separator before exactly three digits parts thousands where there are
-- several, or where no half of the unit is sold or written ('1,000 g', '1.500 pieces'); a full stop
-- parts decimals beside a large unit ('1.250 kg'). Else it may be either, and there is no number.
CREATE OR REPLACE TEMP MACRO number_written(written, unit) AS
    TRY_CAST(CASE
        WHEN regexp_full_match(written, '[1-9]\d{0,2}(?:[\x{a0}\x{202f}\x{2009}]\d{3})+|[1-9]\d{0,2}(?: 0\d\d)(?: \d{3})*|[1-9]\d{0,2}(?:[''’]\d{3})+(?:\.\d+)?')
            THEN regexp_replace(written, '[^\d.]', '', 'g')
        WHEN regexp_full_match(written, '[1-9]\d{0,2}(?:,\d{3}){2,}|[1-9]\d{0,2}(?:,\d{3})+\.\d+')
            THEN replace(written, ',', '')
        WHEN regexp_full_match(written, '[1-9]\d{0,2}(?:\.\d{3}){2,}|[1-9]\d{0,2}(?:\.\d{3})+,\d+')
            THEN replace(replace(written, '.', ''), ',', '.')
        WHEN regexp_full_match(written, '[1-9]\d{0,2},\d{3}')
            THEN CASE WHEN unit IN ('g', 'gram', 'grams', 'ml', 'milliliter', 'milliliters',
                'millilitre', 'millilitres', 'mg', 'mm', 'count') THEN replace(written, ',', '') END
        WHEN regexp_full_match(written, '[1-9]\d{0,2}\.\d{3}')
            THEN CASE
                WHEN unit = 'count' THEN replace(written, '.', '')
                WHEN unit NOT IN ('g', 'gram', 'grams', 'ml', 'milliliter', 'milliliters',
                    'millilitre', 'millilitres', 'mg', 'mm') THEN written
            END
        ELSE replace(written, ',', '.')
    END AS DOUBLE);

-- The patterns are asked for twice: that there is none, as in most texts, is found much faster where
-- no groups are wanted.

-- Weights and volumes come before lengths: 'coffee, 12 oz, 8 inch bag' sells ounces.
CREATE OR REPLACE TEMP MACRO amount_pattern() AS
    '(?:^|[^A-Za-z\d.,''’/–-]|\D[.,''’/–-])((?:\d{1,4} ?(?:[xX×*]|(?i:cans?|bottles?|cartons?|jars?|tubs?|tubes?|sachets?|bags?|packets?|packs?)(?: of)?) ?)*)(\d{1,3}(?:[ \x{a0}\x{202f}\x{2009}]\d{3})+|\d(?:[\d.,]|[''’/–-]\d|[eE]\d)*)[ -]?(?:((?i:fl\.? ?oz|fluid ounces?|oz|ounces?|lbs?|pounds?|kgs?|kilograms?|mg|grams?|ml|millilit(?:er|re)s?|cl|lit(?:er|re)s?|gallons?|gal|quarts?|qt|pints?)|[glL])\.?(?:(,? ?(?:and |& ?|\+ ?)?\d[\d.,]* ?(?i:g|grams?|oz|ounces?|ml|millilit(?:er|re)s?|cl))(?:[^\pL\d]|$)| ?[xX×*] ?(\d{1,4})[.,]?(?:[^\pL\d.,]|$)|[^\pL\d]|$))';

CREATE OR REPLACE TEMP MACRO amount_written(text) AS
    CASE
        WHEN regexp_matches(text, amount_pattern())
            THEN regexp_extract(text, amount_pattern(), ['times', 'number', 'unit', 'more', 'times_after'])
        ELSE {'times': '', 'number': '', 'unit': '', 'more': '', 'times_after': ''}
    END;

CREATE OR REPLACE TEMP MACRO length_pattern() AS
    '(?:^|[^A-Za-z\d.,''’/–-]|\D[.,''’/–-])(\d(?:[\d.,]|[''’/–-]\d|[eE]\d)*)[ -]?(?:((?i:inch(?:es)?|cm|mm|met(?:er|re)s?|feet|foot|ft|yards?|yd)|m)\.?(?:[^\pL\d]|$)|(["”″]))';

CREATE OR REPLACE TEMP MACRO length_written(text) AS
    CASE
        WHEN regexp_matches(text, length_pattern())
            THEN regexp_extract(text, length_pattern(), ['number', 'unit', 'mark'])
        ELSE {'number': '', 'unit': '', 'mark': ''}
    END;

CREATE OR REPLACE TEMP MACRO pack_pattern() AS
    '(?i)\b(?:pack|set|box|case|lot|bundle|bag|pair)s? of (\d{1,3}(?:[.,''’]\d{3})+|\d{1,5})(?:[^\d.,]|[.,](?:\D|$)|$)|(?:^|[^A-Za-z\d.,''’/–-]|\D[.,''’/–-])((?:\d{1,4} ?[x×*] ?)*)(\d{1,3}(?:[.,''’]\d{3})+|\d{1,5}(?:[/–-]\d{1,5})?)[ -]?(?:packs?|pk|pcs?|pieces?|count|ct|units?|rolls|tablets|capsules|sheets?|pairs?)\b';

CREATE OR REPLACE TEMP MACRO pack_written(text) AS
    CASE
        WHEN regexp_matches(text, pack_pattern())
            THEN regexp_extract(text, pack_pattern(), ['of', 'times', 'number'])
        ELSE {'of': '', 'times': '', 'number': ''}
    END;

-- '6 x 4 x ' as 24; null where there is none.
CREATE OR REPLACE TEMP MACRO times_written(times) AS
    CASE WHEN times <> '' THEN list_product(
        list_transform(regexp_extract_all(times, '\d+'), lambda n: n::DOUBLE)
    ) END;

CREATE OR REPLACE TEMP MACRO pack_count(pack) AS
    CASE WHEN pack['of'] <> '' OR pack['number'] <> '' THEN
        nullif(
            number_written(pack['of'] || pack['number'], 'count')
                * coalesce(times_written(pack['times']), 1),
            0
        )
    END;

-- By how much an amount is to be multiplied: '6 x 330 ml' and 'pack of 6' say the same. Null where
-- both are there and differ.
CREATE OR REPLACE TEMP MACRO times_sold(pack, times) AS
    CASE
        WHEN pack IS NULL OR times IS NULL OR pack = times THEN coalesce(pack, times, 1)
    END;

-- The attributes that say how much a listing sells, as one text.
CREATE OR REPLACE TEMP MACRO quantity_attributes(entries) AS
    array_to_string(list_transform(list_filter(entries, lambda e: regexp_matches(
        e.key, '(?i)^(?:(?:net |unit |package |pack |item )?(?:quantity|count|contents?|volume|capacity|size)|(?:net |unit |pack )?weight|number of (?:items|pieces)|amount)$'
    )), lambda e: CASE
        WHEN regexp_full_match(e.value, '\d+')
            AND regexp_matches(e.key, '(?i)count|quantity|number of')
            THEN e.value || ' count'
        ELSE e.value
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
        e.key, '(?i)^(?:(?:item|manufacturer|mfr)[ _])?(?:model|part)[ _]?(?:number|no\.?|#)?$|^mpn$'
    ))[1].value;

CREATE OR REPLACE TEMP MACRO title_pattern() AS
    '(?:^|[\s(,])([A-Z]{1,6}-?\d{3,}[A-Z0-9]*(?:[-/][A-Z0-9]+)*)(?:$|[\s),])';

-- A word of capitals and digits that is long enough to be no standard, unit or series.
CREATE OR REPLACE TEMP MACRO model_number_in_title(title) AS
    CASE WHEN regexp_matches(title, '[A-Z]-?\d{3}') THEN
        CASE
            WHEN NOT regexp_matches(
                regexp_extract(title, title_pattern(), 1),
                '^(?:DDR|PC|USB|SATA|PCIE|GTX|RTX|RX|GT|ISO|LGA|IP|EN|AM)\d|^.{0,6}$'
            )
                THEN regexp_extract(title, title_pattern(), 1)
        END
    END;
