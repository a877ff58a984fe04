-- Datasets of examples: manifests name them under `examples`, older ones under `pairs`.

CREATE FUNCTION dataset_examples(manifest jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN coalesce(manifest -> 'examples', manifest -> 'pairs', '[]'::jsonb);

-- Whose words stand in a dataset. Older manifests name an author and, in the provenance, raters.
CREATE VIEW dataset_raters AS
SELECT DISTINCT d.id AS dataset_id, rater.id AS rater_id
FROM datasets d
CROSS JOIN LATERAL jsonb_array_elements(dataset_examples(d.manifest)) AS example
CROSS JOIN LATERAL (
    SELECT example ->> 'rater_id'
    UNION ALL SELECT jsonb_array_elements_text(example -> 'raters')
    UNION ALL SELECT jsonb_array_elements_text(example -> 'provenance' -> 'raters')
) AS rater (id)
WHERE rater.id IS NOT NULL;

-- Adapters that learned from an ejected rater: derived, so it can't be forgotten.
CREATE OR REPLACE VIEW tainted_adapters AS
SELECT DISTINCT a.name AS adapter, e.rater_id
FROM adapters a
JOIN dataset_raters r ON r.dataset_id = a.dataset_id
JOIN ejections e ON e.rater_id::text = r.rater_id;
