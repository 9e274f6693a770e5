CREATE OR REPLACE TABLE evaluation.technique_comparison (
    split VARCHAR,
    technique VARCHAR,
    compared_with VARCHAR,
    mean_difference DOUBLE,
    low DOUBLE,
    high DOUBLE,
    p_value DOUBLE,
    p_value_holm DOUBLE,
    items BIGINT,
    clusters BIGINT,
    is_sparse BOOLEAN
);

COMMENT ON TABLE evaluation.technique_comparison IS 'One row a pair of techniques that answered and split: how far their absolute errors lie apart on the same items.';
COMMENT ON COLUMN evaluation.technique_comparison.split IS 'validation or test.';
COMMENT ON COLUMN evaluation.technique_comparison.technique IS 'The technique with the smaller error.';
COMMENT ON COLUMN evaluation.technique_comparison.compared_with IS 'The other technique.';
COMMENT ON COLUMN evaluation.technique_comparison.mean_difference IS 'Mean of the technique''s absolute error less the other''s, in the currency, over the items that both were asked about, those without an estimate charged as in mae; at most 0.';
COMMENT ON COLUMN evaluation.technique_comparison.low IS 'Lower end of its 95 % bootstrap interval, clustered by family.';
COMMENT ON COLUMN evaluation.technique_comparison.high IS 'Upper end of that interval.';
COMMENT ON COLUMN evaluation.technique_comparison.p_value IS 'Two-sided, of a sign-flip permutation test by family.';
COMMENT ON COLUMN evaluation.technique_comparison.p_value_holm IS 'The same, corrected for the number of pairs of the split (Holm, 1979).';
COMMENT ON COLUMN evaluation.technique_comparison.items IS 'Items that both were asked about.';
COMMENT ON COLUMN evaluation.technique_comparison.clusters IS 'Clusters that those items are of: families, or several of them where there are more than 10,000.';
COMMENT ON COLUMN evaluation.technique_comparison.is_sparse IS 'Whether those are fewer than 30, too few for interval and p-values to be relied on.';
