-- Prices of listings in yen, won and the like are kept without decimals: '1980 JPY', not '1980.00 JPY'.
UPDATE knowledge.observations AS o SET stated = ARRAY[replace(o.stated[1], '.00 ', ' ')]
FROM knowledge.fact_series AS s
WHERE s.series_id = o.series_id AND s.attribute = 'price' AND s.connector = 'snapshot_folder'
    AND cardinality(o.stated) = 1
    AND o.stated[1] ~ '^\d+\.00 (?:BIF|CLP|DJF|GNF|ISK|JPY|KMF|KRW|PYG|RWF|UGX|VND|VUV|XAF|XOF|XPF)$';

UPDATE knowledge.fact_versions AS v SET value = replace(v.value, '.00 ', ' ')
FROM knowledge.fact_series AS s
WHERE s.series_id = v.series_id AND s.attribute = 'price' AND s.connector = 'snapshot_folder'
    AND v.value ~ '^\d+\.00 (?:BIF|CLP|DJF|GNF|ISK|JPY|KMF|KRW|PYG|RWF|UGX|VND|VUV|XAF|XOF|XPF)$';
