-- Who may read a document, and the jobs that a page asks for and a worker carries out.

-- 'everyone', or the name of a group such as 'staff'.
ALTER TABLE documents ADD COLUMN audience text NOT NULL DEFAULT 'everyone' CHECK (audience <> '');

CREATE TABLE jobs (
    id               uuid PRIMARY KEY DEFAULT uuidv7(),
    kind             text NOT NULL CHECK (kind IN ('ingest', 'evaluate')),
    request          jsonb NOT NULL,
    state            text NOT NULL DEFAULT 'queued'
                         CHECK (state IN ('queued', 'running', 'done', 'failed')),
    progress         jsonb NOT NULL DEFAULT '{}',
    result           jsonb,
    error            text NOT NULL DEFAULT '',
    -- Counts the claims; who holds an older one has lost the job and may not write any more.
    attempt          integer NOT NULL DEFAULT 0,
    lease_expires_at timestamptz,
    created_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    CHECK ((state = 'running') = (lease_expires_at IS NOT NULL)),
    CHECK ((state IN ('done', 'failed')) = (finished_at IS NOT NULL))
);
CREATE INDEX jobs_open ON jobs (created_at) WHERE state IN ('queued', 'running');
