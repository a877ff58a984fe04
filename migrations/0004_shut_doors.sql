-- Sessions that can be ended, an audit log, people taken out of learning, every attempt's end.

-- One row for each sign-in to the desk; the cookie holds its id. Ended by sign-out or by a person.
CREATE TABLE sessions (
    id            uuid PRIMARY KEY,
    person        text NOT NULL CHECK (person <> ''),
    password_mark text NOT NULL,  -- of the password it was opened with; another one ends it
    address       text NOT NULL DEFAULT '',
    user_agent    text NOT NULL DEFAULT '',
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at    timestamptz NOT NULL,
    ended_at      timestamptz
);
CREATE INDEX sessions_open ON sessions (created_at DESC) WHERE ended_at IS NULL;

-- Who did what, when. Rows are appended and never changed, by nobody.
CREATE TABLE audit_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor       text NOT NULL CHECK (actor <> ''),
    action      text NOT NULL CHECK (action <> ''),
    subject     text NOT NULL DEFAULT '',
    details     jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_log_action ON audit_log (action, id DESC);

CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- Whence a correction came: a keyed hash of the address, '' where it is not known. Caps count it.
ALTER TABLE corrections ADD COLUMN origin text NOT NULL DEFAULT '';

-- Raters whose feedback is out of all learning; run_id is the run that was asked for because of it.
CREATE TABLE ejections (
    rater_id   uuid PRIMARY KEY,
    actor      text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    ejected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id     uuid REFERENCES training_runs
);

-- What an adapter learned from. Its run forgets that: a later attempt freezes another dataset.
ALTER TABLE adapters ADD COLUMN dataset_id uuid REFERENCES datasets;
UPDATE adapters a SET dataset_id = r.dataset_id FROM training_runs r WHERE r.id = a.run_id;

-- Adapters that learned from an ejected rater: derived, so it can't be forgotten.
CREATE VIEW tainted_adapters AS
SELECT DISTINCT a.name AS adapter, e.rater_id
FROM adapters a
JOIN datasets d ON d.id = a.dataset_id
CROSS JOIN LATERAL jsonb_array_elements(d.manifest -> 'pairs') AS pair
JOIN ejections e ON pair -> 'provenance' -> 'raters' ? e.rater_id::text
    OR pair ->> 'rater_id' = e.rater_id::text;

-- How each attempt at a run ended, and why; a row without an end belongs to a worker at work or gone.
CREATE TABLE training_attempts (
    run_id     uuid NOT NULL REFERENCES training_runs ON DELETE CASCADE,
    attempt    integer NOT NULL CHECK (attempt >= 1),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    outcome    text CHECK (outcome IN ('promoted', 'rejected', 'failed', 'queued', 'lost')),
    reason     text NOT NULL DEFAULT '',
    PRIMARY KEY (run_id, attempt),
    CHECK ((ended_at IS NULL) = (outcome IS NULL))
);
