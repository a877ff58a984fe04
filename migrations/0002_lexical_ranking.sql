-- Words ranked by BM25: each chunk's term weights as a sparse vector, how common each word is.
--
-- Postgres's ts_rank knows nothing of how rare a word is; this is the lexical leg it can run
-- without an extension other than vector. GIN finds the chunks, an inner product ranks them.

-- A lexeme's place in the sparse vectors: 28 bits of MD5, the same on every machine.
CREATE FUNCTION term_place(lexeme text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ('x' || substr(md5(lexeme), 1, 7))::bit(28)::integer + 1;

-- BM25's weight of each term in a chunk, all but the rarity (k1 = 1.2, b = 0.75). Lengths are
-- compared with 24 words, not with the collection's changing mean: chunks are of one size.
CREATE FUNCTION term_weights(lexemes tsvector) RETURNS sparsevec
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    WITH term AS (
        SELECT term_place(lexeme) AS place, sum(cardinality(positions))::float8 AS n
        FROM unnest(lexemes) GROUP BY 1
    ), weighted AS (
        SELECT place,
               n * 2.2 / (n + 1.2 * (0.25 + 0.75 * (SELECT sum(n) FROM term) / 24)) AS weight
        FROM term
    )
    SELECT ('{' || coalesce(string_agg(place || ':' || weight::real, ',' ORDER BY place), '')
            || '}/268435456')::sparsevec
    FROM weighted
);

-- The query that finds any of these lexemes.
CREATE FUNCTION any_word(lexemes text[]) RETURNS tsquery
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (
    SELECT string_agg(
        $$'$$ || replace(replace(lexeme, $$\$$, $$\\$$), $$'$$, $$''$$) || $$'$$, ' | '
    )::tsquery
    FROM unnest(lexemes) lexeme
);

ALTER TABLE chunks ADD COLUMN terms sparsevec(268435456) NOT NULL
    GENERATED ALWAYS AS (term_weights(lexemes)) STORED;

-- In how many chunks each lexeme stands; the row '' counts the chunks. Triggers keep it exact.
CREATE TABLE lexeme_counts (
    lexeme   text PRIMARY KEY,
    n_chunks bigint NOT NULL
);
INSERT INTO lexeme_counts VALUES ('', 0);

-- Writers queue up for the counts, so two of them can't lock each other's words crosswise.
CREATE FUNCTION count_lexemes() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('lexeme_counts', 0));
    INSERT INTO lexeme_counts AS c (lexeme, n_chunks)
    SELECT lexeme, CASE TG_OP WHEN 'INSERT' THEN count(*) ELSE -count(*) END
    FROM (
        SELECT (unnest(lexemes)).lexeme FROM touched
        UNION ALL
        SELECT '' FROM touched
    ) words
    GROUP BY lexeme
    ON CONFLICT (lexeme) DO UPDATE SET n_chunks = c.n_chunks + excluded.n_chunks;
    RETURN NULL;
END
$$;

CREATE TRIGGER chunks_counted AFTER INSERT ON chunks
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_lexemes();
CREATE TRIGGER chunks_uncounted AFTER DELETE ON chunks
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION count_lexemes();

-- Rows there before this migration.
INSERT INTO lexeme_counts AS c (lexeme, n_chunks)
SELECT lexeme, count(*)
FROM (
    SELECT (unnest(lexemes)).lexeme FROM chunks
    UNION ALL
    SELECT '' FROM chunks
) words
GROUP BY lexeme
ON CONFLICT (lexeme) DO UPDATE SET n_chunks = excluded.n_chunks;
