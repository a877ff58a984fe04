-- One engine for durable work: ingests, evaluations and retrainings are all jobs.

ALTER TABLE jobs
    DROP CONSTRAINT jobs_kind_check,
    DROP CONSTRAINT jobs_state_check,
    DROP CONSTRAINT jobs_check1;
ALTER TABLE jobs
    -- At most one open job of a kind may hold a key; NULL: any number.
    ADD COLUMN key                 text CHECK (key <> ''),
    ADD COLUMN phase               text NOT NULL DEFAULT '',  -- what a running job is at
    -- What each finished phase left, by its name: a retry goes on from there.
    ADD COLUMN phases              jsonb NOT NULL DEFAULT '{}',
    -- Grows with each lease; who holds an older one has lost the job and may not write any more.
    ADD COLUMN lease_token         bigint NOT NULL DEFAULT 0,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN cancel_requested_by text,
    -- The only place that says which states are final.
    ADD COLUMN is_open             boolean NOT NULL
        GENERATED ALWAYS AS (state IN ('queued', 'running')) STORED,
    ADD CONSTRAINT jobs_kind_check CHECK (kind ~ '^[a-z_]+$'),
    ADD CONSTRAINT jobs_state_check
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    ADD CONSTRAINT jobs_finished_check CHECK (is_open = (finished_at IS NULL)),
    ADD CONSTRAINT jobs_cancel_check
        CHECK ((cancel_requested_at IS NULL) = (cancel_requested_by IS NULL));
DROP INDEX jobs_open;
CREATE INDEX jobs_open ON jobs (kind, created_at) WHERE is_open;
CREATE UNIQUE INDEX jobs_one_open ON jobs (kind, key) WHERE is_open;

-- How each attempt ended, and why; one without an end belongs to a worker at work, or gone.
CREATE TABLE job_attempts (
    job_id     uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
    attempt    integer NOT NULL CHECK (attempt >= 1),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    outcome    text CHECK (outcome IN ('done', 'failed', 'retried', 'cancelled', 'lost')),
    reason     text NOT NULL DEFAULT '',
    PRIMARY KEY (job_id, attempt),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);

-- Nobody works while tables change: what was at work waits for a worker again.
UPDATE jobs SET lease_token = attempt;
UPDATE jobs SET state = 'queued', lease_expires_at = NULL WHERE state = 'running';

INSERT INTO jobs (id, kind, key, request, state, progress, result, error, attempt, lease_token,
                  created_at, started_at, finished_at)
SELECT id, 'retrain', 'retrain', '{}',
       CASE WHEN state IN ('promoted', 'rejected') THEN 'done'
            WHEN state = 'failed' THEN 'failed' ELSE 'queued' END,
       progress,
       CASE WHEN state IN ('promoted', 'rejected') THEN jsonb_build_object('outcome', state) END,
       error, attempt, lease_token, created_at, started_at,
       CASE WHEN state IN ('promoted', 'rejected', 'failed') THEN coalesce(finished_at, now()) END
FROM training_runs;

INSERT INTO job_attempts (job_id, attempt, started_at, ended_at, outcome, reason)
SELECT run_id, attempt, started_at, coalesce(ended_at, now()),
       CASE WHEN outcome IS NULL THEN 'lost' WHEN outcome = 'queued' THEN 'retried'
            WHEN outcome IN ('promoted', 'rejected') THEN 'done' ELSE outcome END,
       CASE WHEN outcome IS NULL THEN 'the product was upgraded meanwhile' ELSE reason END
FROM training_attempts;
DROP TABLE training_attempts;

-- A run keeps what is about training; the job of the same id says where it stands.
ALTER TABLE training_runs
    ADD COLUMN outcome text CHECK (outcome IN ('promoted', 'rejected')),
    ADD FOREIGN KEY (id) REFERENCES jobs ON DELETE CASCADE;
UPDATE training_runs SET outcome = state WHERE state IN ('promoted', 'rejected');
DROP INDEX training_runs_one_active;
ALTER TABLE training_runs
    DROP COLUMN state,
    DROP COLUMN attempt,
    DROP COLUMN lease_token,
    DROP COLUMN lease_expires_at,
    DROP COLUMN progress,
    DROP COLUMN error,
    DROP COLUMN created_at,
    DROP COLUMN started_at,
    DROP COLUMN finished_at;
