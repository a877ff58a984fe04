-- Which way to search is in use: the newest row. Without one it is what the settings say.
CREATE TABLE search_options (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The figures that differ from the settings; {} returns to these.
    options       jsonb NOT NULL CHECK (jsonb_typeof(options) = 'object'),
    actor         text NOT NULL CHECK (actor <> ''),
    reason        text NOT NULL CHECK (reason <> ''),
    evaluation_id uuid,  -- the job that spoke for it; no reference: jobs may be tidied away
    created_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TRIGGER search_options_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON search_options
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
