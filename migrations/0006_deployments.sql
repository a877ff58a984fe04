-- Deployments say what should serve; a worker brings each model server there.

-- Hash of the base model that an adapter was trained on; NULL for adapters older than this column.
ALTER TABLE adapters ADD COLUMN base_sha256 text;

-- Whether two base models are one: by their hashes, so that an adapter still fits its base when the
-- folder of the base was moved. Where a hash is not known, by name; of folders the last two parts
-- count, since a new checkout of this product over the old database is the usual move.
CREATE FUNCTION same_base(name_a text, sha256_a text, name_b text, sha256_b text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN sha256_a <> '' AND sha256_b <> '' THEN sha256_a = sha256_b
            ELSE coalesce(substring(name_a FROM '[^/]+/[^/]+/*$'), name_a)
               = coalesce(substring(name_b FROM '[^/]+/[^/]+/*$'), name_b) END;

ALTER TABLE deployments
    ADD COLUMN state text NOT NULL DEFAULT 'superseded'
        CHECK (state IN ('pending', 'live', 'failed', 'superseded')),
    -- Of the conversations, how many it should answer.
    ADD COLUMN share real NOT NULL DEFAULT 1 CHECK (share > 0 AND share <= 1),
    -- Whether the gate compared it with something, and with what (NULL: the base model).
    ADD COLUMN was_compared boolean NOT NULL DEFAULT false,
    ADD COLUMN baseline text REFERENCES adapters (name),
    -- The base model it is for; empty where that was not stored.
    ADD COLUMN base_model text NOT NULL DEFAULT '',
    ADD COLUMN base_sha256 text NOT NULL DEFAULT '',
    -- A person rolled back: until a person promotes, no run puts anything live.
    ADD COLUMN hold boolean NOT NULL DEFAULT false,
    ADD COLUMN failure text NOT NULL DEFAULT '',
    ADD COLUMN ready_at timestamptz;

-- Every old row went live when it was written, and the newest one still is.
UPDATE deployments d
SET ready_at = created_at,
    state = CASE WHEN id = (SELECT max(id) FROM deployments) THEN 'live' ELSE state END,
    base_model = coalesce((SELECT a.base_model FROM adapters a WHERE a.name = d.adapter), '');

ALTER TABLE deployments
    ALTER COLUMN state DROP DEFAULT,
    ADD CHECK ((state = 'failed') = (failure <> '')),
    ADD CHECK (state <> 'live' OR ready_at IS NOT NULL),
    ADD CHECK (state NOT IN ('pending', 'failed') OR ready_at IS NULL),
    ADD CHECK (baseline IS NULL OR was_compared);
CREATE UNIQUE INDEX deployments_one_live ON deployments ((true)) WHERE state = 'live';
CREATE UNIQUE INDEX deployments_one_pending ON deployments ((true)) WHERE state = 'pending';

-- How far each model server is with a deployment.
CREATE TABLE deployment_servers (
    deployment_id bigint NOT NULL REFERENCES deployments ON DELETE CASCADE,
    server        text NOT NULL CHECK (server <> ''),
    state         text NOT NULL CHECK (state IN ('pending', 'ready', 'failed')),
    reason        text NOT NULL DEFAULT '',
    updated_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (deployment_id, server)
);
