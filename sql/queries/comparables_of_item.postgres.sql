-- What do similar products cost? The nearest products to one product by the cosine of their texts'
-- embeddings, with prices and how old those are. No rows: the product has no embedding.
-- Postgres; %(item_id)s: the product, as in catalog.items; %(count)s: how many to show.
SELECT
    items.item_id,
    items.source,
    items.title,
    items.category,
    items.price,
    items.currency,
    items.price_observed_at,
    now() - items.price_observed_at AS price_age,
    1 - nearest.distance AS similarity
FROM catalog.item_embeddings AS target
CROSS JOIN LATERAL (
    SELECT other.item_id, other.embedding <=> target.embedding AS distance
    FROM catalog.item_embeddings AS other
    WHERE other.item_id <> target.item_id
    ORDER BY other.embedding <=> target.embedding
    LIMIT %(count)s
) AS nearest
JOIN catalog.items AS items ON items.item_id = nearest.item_id
WHERE target.item_id = %(item_id)s
ORDER BY nearest.distance, items.item_id;
