-- The whole loop in tables: articles, chat turns, feedback, learning, deployments.

CREATE EXTENSION IF NOT EXISTS vector;

-- Knowledge -----------------------------------------------------------------------------------

CREATE TABLE documents (
    id             uuid PRIMARY KEY DEFAULT uuidv7(),
    collection     text NOT NULL DEFAULT 'help',
    uri            text NOT NULL,
    title          text NOT NULL,
    media_type     text NOT NULL,
    body           text NOT NULL,
    content_sha256 text NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection, uri)
);

CREATE TABLE chunks (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id  uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    position     integer NOT NULL CHECK (position >= 0),
    heading_path text[] NOT NULL DEFAULT '{}',
    body         text NOT NULL CHECK (body <> ''),
    n_tokens     integer NOT NULL CHECK (n_tokens > 0),
    embedding    halfvec(384) NOT NULL,
    lexemes      tsvector NOT NULL,
    UNIQUE (document_id, position)
);
CREATE INDEX chunks_embedding ON chunks USING hnsw (embedding halfvec_cosine_ops);
CREATE INDEX chunks_lexemes ON chunks USING gin (lexemes);

-- Chat ----------------------------------------------------------------------------------------

CREATE TABLE conversations (
    id         uuid PRIMARY KEY,
    owner_id   uuid NOT NULL,
    title      text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz
);
CREATE INDEX conversations_owner ON conversations (owner_id, updated_at DESC);

-- convert_to counts as stable, a generated column wants immutable; UTF8 is fixed here.
CREATE FUNCTION sha256_hex(body jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
    RETURN encode(sha256(convert_to(body::text, 'UTF8')), 'hex');

CREATE TABLE turns (
    id                uuid PRIMARY KEY,
    conversation_id   uuid NOT NULL REFERENCES conversations ON DELETE CASCADE,
    position          integer NOT NULL CHECK (position >= 0),
    question          text NOT NULL,
    messages          jsonb NOT NULL,
    messages_sha256   text GENERATED ALWAYS AS (sha256_hex(messages)) STORED,
    answer            text NOT NULL DEFAULT '',
    status            text NOT NULL DEFAULT 'streaming'
                          CHECK (status IN ('streaming', 'complete', 'stopped', 'failed')),
    adapter           text,
    base_model        text NOT NULL,
    prompt_version    text NOT NULL,
    retrieval_ms      real,
    first_token_ms    real,
    total_ms          real,
    prompt_tokens     integer,
    completion_tokens integer,
    created_at        timestamptz NOT NULL DEFAULT now(),
    superseded_at     timestamptz
);
-- One current turn per place in a conversation; regenerated and edited ones stay as history.
CREATE UNIQUE INDEX turns_current ON turns (conversation_id, position)
    WHERE superseded_at IS NULL;
CREATE INDEX turns_messages ON turns (messages_sha256);
CREATE INDEX turns_streaming ON turns (adapter) WHERE status = 'streaming';

CREATE TABLE turn_passages (
    turn_id     uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    rank        integer NOT NULL CHECK (rank >= 1),
    chunk_id    bigint REFERENCES chunks ON DELETE SET NULL,
    document_id uuid REFERENCES documents ON DELETE SET NULL,
    uri         text NOT NULL,
    title       text NOT NULL,
    heading     text NOT NULL,
    body        text NOT NULL,
    score       real NOT NULL,
    similarity  real NOT NULL,
    dense_rank  integer,
    text_rank   integer,
    PRIMARY KEY (turn_id, rank)
);
-- Replacing a document sets these to null; without the indexes each chunk would scan the table.
CREATE INDEX turn_passages_chunk ON turn_passages (chunk_id);
CREATE INDEX turn_passages_document ON turn_passages (document_id);

-- Feedback ------------------------------------------------------------------------------------

CREATE TABLE feedback (
    id       uuid PRIMARY KEY DEFAULT uuidv7(),
    turn_id  uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    rater_id uuid NOT NULL,
    rating   text NOT NULL CHECK (rating IN ('up', 'down', 'cleared')),
    reasons  text[] NOT NULL DEFAULT '{}' CHECK (reasons <@ ARRAY[
                 'incorrect', 'incomplete', 'not_grounded', 'outdated',
                 'tone', 'too_long', 'not_my_question']),
    comment  text NOT NULL DEFAULT '',
    rated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX feedback_turn ON feedback (turn_id, rater_id, rated_at DESC, id DESC);

-- The newest thumb of each rater; a thumb taken back does not count.
CREATE VIEW current_feedback AS
SELECT * FROM (
    SELECT DISTINCT ON (turn_id, rater_id) *
    FROM feedback
    ORDER BY turn_id, rater_id, rated_at DESC, id DESC
) newest
WHERE rating <> 'cleared';

CREATE TABLE corrections (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    turn_id    uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    author_id  uuid NOT NULL,
    by_admin   boolean NOT NULL,
    body       text NOT NULL CHECK (btrim(body) <> ''),
    status     text NOT NULL CHECK (status IN ('proposed', 'approved', 'rejected')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX corrections_turn ON corrections (turn_id, created_at DESC);

CREATE TABLE reviews (
    id          uuid PRIMARY KEY DEFAULT uuidv7(),
    turn_id     uuid NOT NULL REFERENCES turns ON DELETE CASCADE,
    verdict     text NOT NULL CHECK (verdict IN (
                    'answer_fine', 'knowledge_gap', 'stale_article', 'retrieval_miss',
                    'ungrounded', 'tone_or_policy', 'should_hand_off')),
    note        text NOT NULL DEFAULT '',
    reviewer_id uuid NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX reviews_turn ON reviews (turn_id, created_at DESC);

-- Learning ------------------------------------------------------------------------------------

CREATE TABLE datasets (
    id         uuid PRIMARY KEY,
    path       text NOT NULL,
    sha256     text NOT NULL,
    n_train    integer NOT NULL CHECK (n_train >= 0),
    n_heldout  integer NOT NULL CHECK (n_heldout >= 0),
    manifest   jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE training_runs (
    id               uuid PRIMARY KEY,
    state            text NOT NULL DEFAULT 'queued' CHECK (state IN (
                         'queued', 'freezing', 'fitting', 'gating', 'deploying',
                         'promoted', 'rejected', 'failed')),
    trigger          text NOT NULL CHECK (trigger IN ('command', 'button', 'beat', 'threshold')),
    period           text UNIQUE,
    attempt          integer NOT NULL DEFAULT 0,
    lease_token      bigint NOT NULL DEFAULT 0,
    lease_expires_at timestamptz,
    progress         jsonb NOT NULL DEFAULT '{}',
    dataset_id       uuid REFERENCES datasets,
    reasons          text[] NOT NULL DEFAULT '{}',
    error            text NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz
);
-- However often beat rings or a button is pressed: one active run.
CREATE UNIQUE INDEX training_runs_one_active ON training_runs ((true))
    WHERE state NOT IN ('promoted', 'rejected', 'failed');

CREATE TABLE training_steps (
    run_id   uuid NOT NULL REFERENCES training_runs ON DELETE CASCADE,
    step     integer NOT NULL,
    loss     real NOT NULL,
    margin   real NOT NULL,
    accuracy real NOT NULL,
    PRIMARY KEY (run_id, step)
);

CREATE SEQUENCE adapter_version;
CREATE TABLE adapters (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    name       text NOT NULL UNIQUE,
    version    integer NOT NULL UNIQUE,
    run_id     uuid REFERENCES training_runs,
    path       text NOT NULL,
    sha256     text NOT NULL,
    base_model text NOT NULL,
    rank       integer NOT NULL CHECK (rank > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE gate_reports (
    id         uuid PRIMARY KEY DEFAULT uuidv7(),
    run_id     uuid NOT NULL REFERENCES training_runs ON DELETE CASCADE,
    adapter    text NOT NULL REFERENCES adapters (name),
    baseline   text,
    passed     boolean NOT NULL,
    reasons    text[] NOT NULL,
    figures    jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Live = newest row. Nothing here is ever updated or deleted.
CREATE TABLE deployments (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    adapter    text REFERENCES adapters (name),
    kind       text NOT NULL CHECK (kind IN ('promote', 'rollback')),
    actor      text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now()
);
