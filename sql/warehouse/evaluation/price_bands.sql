CREATE OR REPLACE TABLE evaluation.price_bands AS
SELECT * FROM (
    VALUES
        ('under 10', 0.0::DOUBLE, 10.0::DOUBLE),
        ('10 to 25', 10.0, 25.0),
        ('25 to 50', 25.0, 50.0),
        ('50 to 100', 50.0, 100.0),
        ('100 to 200', 100.0, 200.0),
        ('200 to 500', 200.0, 500.0),
        ('500 and more', 500.0, 'infinity'::DOUBLE)
) AS bands (price_band, priced_from, priced_to);

COMMENT ON TABLE evaluation.price_bands IS 'One row a band of prices in which errors are compared: about a doubling each.';
COMMENT ON COLUMN evaluation.price_bands.price_band IS 'The band''s name.';
COMMENT ON COLUMN evaluation.price_bands.priced_from IS 'Lowest price of the band, itself included.';
COMMENT ON COLUMN evaluation.price_bands.priced_to IS 'End of the band, itself not included.';
