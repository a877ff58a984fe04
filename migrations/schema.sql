-- The sum of all migrations, for reading; a test proves it equal.
-- Made by `python -m stack.dump_schema DSN` on a migrated database; don't edit.

CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;

CREATE FUNCTION public.any_word(lexemes text[]) RETURNS tsquery
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (SELECT (string_agg(((''''::text || replace(replace(lexeme.lexeme, '\'::text, '\\'::text), ''''::text, ''''''::text)) || ''''::text), ' | '::text))::tsquery AS string_agg FROM unnest(any_word.lexemes) lexeme(lexeme));

CREATE FUNCTION public.count_lexemes() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION public.dataset_examples(manifest jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE((manifest -> 'examples'::text), (manifest -> 'pairs'::text), '[]'::jsonb);

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END
$$;

CREATE FUNCTION public.same_base(name_a text, sha256_a text, name_b text, sha256_b text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN ((sha256_a <> ''::text) AND (sha256_b <> ''::text)) THEN (sha256_a = sha256_b) ELSE (COALESCE("substring"(name_a, '[^/]+/[^/]+/*$'::text), name_a) = COALESCE("substring"(name_b, '[^/]+/[^/]+/*$'::text), name_b)) END;

CREATE FUNCTION public.sha256_hex(body jsonb) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN encode(sha256(convert_to((body)::text, 'UTF8'::name)), 'hex'::text);

CREATE FUNCTION public.term_place(lexeme text) RETURNS integer
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (((('x'::text || substr(md5(lexeme), 1, 7)))::bit(28))::integer + 1);

CREATE FUNCTION public.term_weights(lexemes tsvector) RETURNS public.sparsevec
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (WITH term AS (SELECT public.term_place(unnest.lexeme) AS place, (sum(cardinality(unnest.positions)))::double precision AS n FROM unnest(term_weights.lexemes) unnest(lexeme, positions, weights) GROUP BY (public.term_place(unnest.lexeme))), weighted AS (SELECT term.place, ((term.n * (2.2)::double precision) / (term.n + ((1.2)::double precision * ((0.25)::double precision + (((0.75)::double precision * (SELECT sum(term_1.n) AS sum FROM term term_1)) / (24)::double precision))))) AS weight FROM term) SELECT ((('{'::text || COALESCE(string_agg(((weighted.place || ':'::text) || (weighted.weight)::real), ','::text ORDER BY weighted.place), ''::text)) || '}/268435456'::text))::public.sparsevec AS sparsevec FROM weighted);

CREATE SEQUENCE public.adapter_version
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.adapters (
    id uuid DEFAULT uuidv7() NOT NULL,
    name text NOT NULL,
    version integer NOT NULL,
    run_id uuid,
    path text NOT NULL,
    sha256 text NOT NULL,
    base_model text NOT NULL,
    rank integer NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    dataset_id uuid,
    base_sha256 text,
    CONSTRAINT adapters_rank_check CHECK ((rank > 0))
);

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    happened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text DEFAULT ''::text NOT NULL,
    details jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT audit_log_action_check CHECK ((action <> ''::text)),
    CONSTRAINT audit_log_actor_check CHECK ((actor <> ''::text))
);

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.chunks (
    id bigint NOT NULL,
    document_id uuid NOT NULL,
    "position" integer NOT NULL,
    heading_path text[] DEFAULT '{}'::text[] NOT NULL,
    body text NOT NULL,
    n_tokens integer NOT NULL,
    embedding public.halfvec(384) NOT NULL,
    lexemes tsvector NOT NULL,
    terms public.sparsevec(268435456) GENERATED ALWAYS AS (public.term_weights(lexemes)) STORED NOT NULL,
    CONSTRAINT chunks_body_check CHECK ((body <> ''::text)),
    CONSTRAINT chunks_n_tokens_check CHECK ((n_tokens > 0)),
    CONSTRAINT chunks_position_check CHECK (("position" >= 0))
);

ALTER TABLE public.chunks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.chunks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.conversations (
    id uuid NOT NULL,
    owner_id uuid NOT NULL,
    title text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone
);

CREATE TABLE public.corrections (
    id uuid DEFAULT uuidv7() NOT NULL,
    turn_id uuid NOT NULL,
    author_id uuid NOT NULL,
    by_admin boolean NOT NULL,
    body text NOT NULL,
    status text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    origin text DEFAULT ''::text NOT NULL,
    CONSTRAINT corrections_body_check CHECK ((btrim(body) <> ''::text)),
    CONSTRAINT corrections_status_check CHECK ((status = ANY (ARRAY['proposed'::text, 'approved'::text, 'rejected'::text])))
);

CREATE TABLE public.feedback (
    id uuid DEFAULT uuidv7() NOT NULL,
    turn_id uuid NOT NULL,
    rater_id uuid NOT NULL,
    rating text NOT NULL,
    reasons text[] DEFAULT '{}'::text[] NOT NULL,
    comment text DEFAULT ''::text NOT NULL,
    rated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT feedback_rating_check CHECK ((rating = ANY (ARRAY['up'::text, 'down'::text, 'cleared'::text]))),
    CONSTRAINT feedback_reasons_check CHECK ((reasons <@ ARRAY['incorrect'::text, 'incomplete'::text, 'not_grounded'::text, 'outdated'::text, 'tone'::text, 'too_long'::text, 'not_my_question'::text]))
);

CREATE VIEW public.current_feedback AS
 SELECT id,
    turn_id,
    rater_id,
    rating,
    reasons,
    comment,
    rated_at
   FROM ( SELECT DISTINCT ON (feedback.turn_id, feedback.rater_id) feedback.id,
            feedback.turn_id,
            feedback.rater_id,
            feedback.rating,
            feedback.reasons,
            feedback.comment,
            feedback.rated_at
           FROM public.feedback
          ORDER BY feedback.turn_id, feedback.rater_id, feedback.rated_at DESC, feedback.id DESC) newest
  WHERE (rating <> 'cleared'::text);

CREATE TABLE public.datasets (
    id uuid NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    n_train integer NOT NULL,
    n_heldout integer NOT NULL,
    manifest jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT datasets_n_heldout_check CHECK ((n_heldout >= 0)),
    CONSTRAINT datasets_n_train_check CHECK ((n_train >= 0))
);

CREATE VIEW public.dataset_raters AS
 SELECT DISTINCT d.id AS dataset_id,
    rater.id AS rater_id
   FROM ((public.datasets d
     CROSS JOIN LATERAL jsonb_array_elements(public.dataset_examples(d.manifest)) example(value))
     CROSS JOIN LATERAL ( SELECT (example.value ->> 'rater_id'::text) AS "?column?"
        UNION ALL
         SELECT jsonb_array_elements_text((example.value -> 'raters'::text)) AS jsonb_array_elements_text
        UNION ALL
         SELECT jsonb_array_elements_text(((example.value -> 'provenance'::text) -> 'raters'::text)) AS jsonb_array_elements_text) rater(id))
  WHERE (rater.id IS NOT NULL);

CREATE TABLE public.deployment_servers (
    deployment_id bigint NOT NULL,
    server text NOT NULL,
    state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    updated_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT deployment_servers_server_check CHECK ((server <> ''::text)),
    CONSTRAINT deployment_servers_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'ready'::text, 'failed'::text])))
);

CREATE TABLE public.deployments (
    id bigint NOT NULL,
    adapter text,
    kind text NOT NULL,
    actor text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    state text NOT NULL,
    share real DEFAULT 1 NOT NULL,
    was_compared boolean DEFAULT false NOT NULL,
    baseline text,
    base_model text DEFAULT ''::text NOT NULL,
    base_sha256 text DEFAULT ''::text NOT NULL,
    hold boolean DEFAULT false NOT NULL,
    failure text DEFAULT ''::text NOT NULL,
    ready_at timestamp with time zone,
    CONSTRAINT deployments_check CHECK (((state = 'failed'::text) = (failure <> ''::text))),
    CONSTRAINT deployments_check1 CHECK (((state <> 'live'::text) OR (ready_at IS NOT NULL))),
    CONSTRAINT deployments_check2 CHECK (((state <> ALL (ARRAY['pending'::text, 'failed'::text])) OR (ready_at IS NULL))),
    CONSTRAINT deployments_check3 CHECK (((baseline IS NULL) OR was_compared)),
    CONSTRAINT deployments_kind_check CHECK ((kind = ANY (ARRAY['promote'::text, 'rollback'::text]))),
    CONSTRAINT deployments_share_check CHECK (((share > (0)::double precision) AND (share <= (1)::double precision))),
    CONSTRAINT deployments_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'live'::text, 'failed'::text, 'superseded'::text])))
);

ALTER TABLE public.deployments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.deployments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.documents (
    id uuid DEFAULT uuidv7() NOT NULL,
    collection text DEFAULT 'help'::text NOT NULL,
    uri text NOT NULL,
    title text NOT NULL,
    media_type text NOT NULL,
    body text NOT NULL,
    content_sha256 text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    audience text DEFAULT 'everyone'::text NOT NULL,
    CONSTRAINT documents_audience_check CHECK ((audience <> ''::text))
);

CREATE TABLE public.ejections (
    rater_id uuid NOT NULL,
    actor text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    ejected_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    run_id uuid
);

CREATE TABLE public.gate_reports (
    id uuid DEFAULT uuidv7() NOT NULL,
    run_id uuid NOT NULL,
    adapter text NOT NULL,
    baseline text,
    passed boolean NOT NULL,
    reasons text[] NOT NULL,
    figures jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.job_attempts (
    job_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    ended_at timestamp with time zone,
    outcome text,
    reason text DEFAULT ''::text NOT NULL,
    CONSTRAINT job_attempts_attempt_check CHECK ((attempt >= 1)),
    CONSTRAINT job_attempts_check CHECK (((ended_at IS NULL) = (outcome IS NULL))),
    CONSTRAINT job_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['done'::text, 'failed'::text, 'retried'::text, 'cancelled'::text, 'lost'::text])))
);

CREATE TABLE public.jobs (
    id uuid DEFAULT uuidv7() NOT NULL,
    kind text NOT NULL,
    request jsonb NOT NULL,
    state text DEFAULT 'queued'::text NOT NULL,
    progress jsonb DEFAULT '{}'::jsonb NOT NULL,
    result jsonb,
    error text DEFAULT ''::text NOT NULL,
    attempt integer DEFAULT 0 NOT NULL,
    lease_expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    key text,
    phase text DEFAULT ''::text NOT NULL,
    phases jsonb DEFAULT '{}'::jsonb NOT NULL,
    lease_token bigint DEFAULT 0 NOT NULL,
    cancel_requested_at timestamp with time zone,
    cancel_requested_by text,
    is_open boolean GENERATED ALWAYS AS ((state = ANY (ARRAY['queued'::text, 'running'::text]))) STORED NOT NULL,
    CONSTRAINT jobs_cancel_check CHECK (((cancel_requested_at IS NULL) = (cancel_requested_by IS NULL))),
    CONSTRAINT jobs_check CHECK (((state = 'running'::text) = (lease_expires_at IS NOT NULL))),
    CONSTRAINT jobs_finished_check CHECK ((is_open = (finished_at IS NULL))),
    CONSTRAINT jobs_key_check CHECK ((key <> ''::text)),
    CONSTRAINT jobs_kind_check CHECK ((kind ~ '^[a-z_]+$'::text)),
    CONSTRAINT jobs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE TABLE public.lexeme_counts (
    lexeme text NOT NULL,
    n_chunks bigint NOT NULL
);

CREATE TABLE public.reviews (
    id uuid DEFAULT uuidv7() NOT NULL,
    turn_id uuid NOT NULL,
    verdict text NOT NULL,
    note text DEFAULT ''::text NOT NULL,
    reviewer_id uuid NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT reviews_verdict_check CHECK ((verdict = ANY (ARRAY['answer_fine'::text, 'knowledge_gap'::text, 'stale_article'::text, 'retrieval_miss'::text, 'ungrounded'::text, 'tone_or_policy'::text, 'should_hand_off'::text])))
);

CREATE TABLE public.schema_migrations (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE public.search_options (
    id bigint NOT NULL,
    options jsonb NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    evaluation_id uuid,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT search_options_actor_check CHECK ((actor <> ''::text)),
    CONSTRAINT search_options_options_check CHECK ((jsonb_typeof(options) = 'object'::text)),
    CONSTRAINT search_options_reason_check CHECK ((reason <> ''::text))
);

ALTER TABLE public.search_options ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.search_options_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.sessions (
    id uuid NOT NULL,
    person text NOT NULL,
    password_mark text NOT NULL,
    address text DEFAULT ''::text NOT NULL,
    user_agent text DEFAULT ''::text NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT sessions_person_check CHECK ((person <> ''::text))
);

CREATE VIEW public.tainted_adapters AS
 SELECT DISTINCT a.name AS adapter,
    e.rater_id
   FROM ((public.adapters a
     JOIN public.dataset_raters r ON ((r.dataset_id = a.dataset_id)))
     JOIN public.ejections e ON (((e.rater_id)::text = r.rater_id)));

CREATE TABLE public.training_runs (
    id uuid NOT NULL,
    trigger text NOT NULL,
    period text,
    dataset_id uuid,
    reasons text[] DEFAULT '{}'::text[] NOT NULL,
    outcome text,
    CONSTRAINT training_runs_outcome_check CHECK ((outcome = ANY (ARRAY['promoted'::text, 'rejected'::text]))),
    CONSTRAINT training_runs_trigger_check CHECK ((trigger = ANY (ARRAY['command'::text, 'button'::text, 'beat'::text, 'threshold'::text])))
);

CREATE TABLE public.training_steps (
    run_id uuid NOT NULL,
    step integer NOT NULL,
    loss real NOT NULL,
    margin real NOT NULL,
    accuracy real NOT NULL
);

CREATE TABLE public.turn_passages (
    turn_id uuid NOT NULL,
    rank integer NOT NULL,
    chunk_id bigint,
    document_id uuid,
    uri text NOT NULL,
    title text NOT NULL,
    heading text NOT NULL,
    body text NOT NULL,
    score real NOT NULL,
    similarity real NOT NULL,
    dense_rank integer,
    text_rank integer,
    CONSTRAINT turn_passages_rank_check CHECK ((rank >= 1))
);

CREATE TABLE public.turns (
    id uuid NOT NULL,
    conversation_id uuid NOT NULL,
    "position" integer NOT NULL,
    question text NOT NULL,
    messages jsonb NOT NULL,
    messages_sha256 text GENERATED ALWAYS AS (public.sha256_hex(messages)) STORED,
    answer text DEFAULT ''::text NOT NULL,
    status text DEFAULT 'streaming'::text NOT NULL,
    adapter text,
    base_model text NOT NULL,
    prompt_version text NOT NULL,
    retrieval_ms real,
    first_token_ms real,
    total_ms real,
    prompt_tokens integer,
    completion_tokens integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    superseded_at timestamp with time zone,
    CONSTRAINT turns_position_check CHECK (("position" >= 0)),
    CONSTRAINT turns_status_check CHECK ((status = ANY (ARRAY['streaming'::text, 'complete'::text, 'stopped'::text, 'failed'::text])))
);

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT adapters_name_key UNIQUE (name);

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT adapters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT adapters_version_key UNIQUE (version);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_document_id_position_key UNIQUE (document_id, "position");

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.conversations
    ADD CONSTRAINT conversations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.corrections
    ADD CONSTRAINT corrections_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.datasets
    ADD CONSTRAINT datasets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deployment_servers
    ADD CONSTRAINT deployment_servers_pkey PRIMARY KEY (deployment_id, server);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_collection_uri_key UNIQUE (collection, uri);

ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.ejections
    ADD CONSTRAINT ejections_pkey PRIMARY KEY (rater_id);

ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT feedback_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gate_reports
    ADD CONSTRAINT gate_reports_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.job_attempts
    ADD CONSTRAINT job_attempts_pkey PRIMARY KEY (job_id, attempt);

ALTER TABLE ONLY public.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.lexeme_counts
    ADD CONSTRAINT lexeme_counts_pkey PRIMARY KEY (lexeme);

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (name);

ALTER TABLE ONLY public.search_options
    ADD CONSTRAINT search_options_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.training_runs
    ADD CONSTRAINT training_runs_period_key UNIQUE (period);

ALTER TABLE ONLY public.training_runs
    ADD CONSTRAINT training_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.training_steps
    ADD CONSTRAINT training_steps_pkey PRIMARY KEY (run_id, step);

ALTER TABLE ONLY public.turn_passages
    ADD CONSTRAINT turn_passages_pkey PRIMARY KEY (turn_id, rank);

ALTER TABLE ONLY public.turns
    ADD CONSTRAINT turns_pkey PRIMARY KEY (id);

CREATE INDEX audit_log_action ON public.audit_log USING btree (action, id DESC);

CREATE INDEX chunks_embedding ON public.chunks USING hnsw (embedding public.halfvec_cosine_ops);

CREATE INDEX chunks_lexemes ON public.chunks USING gin (lexemes);

CREATE INDEX conversations_owner ON public.conversations USING btree (owner_id, updated_at DESC);

CREATE INDEX corrections_turn ON public.corrections USING btree (turn_id, created_at DESC);

CREATE UNIQUE INDEX deployments_one_live ON public.deployments USING btree ((true)) WHERE (state = 'live'::text);

CREATE UNIQUE INDEX deployments_one_pending ON public.deployments USING btree ((true)) WHERE (state = 'pending'::text);

CREATE INDEX feedback_turn ON public.feedback USING btree (turn_id, rater_id, rated_at DESC, id DESC);

CREATE UNIQUE INDEX jobs_one_open ON public.jobs USING btree (kind, key) WHERE is_open;

CREATE INDEX jobs_open ON public.jobs USING btree (kind, created_at) WHERE is_open;

CREATE INDEX reviews_turn ON public.reviews USING btree (turn_id, created_at DESC);

CREATE INDEX sessions_open ON public.sessions USING btree (created_at DESC) WHERE (ended_at IS NULL);

CREATE INDEX turn_passages_chunk ON public.turn_passages USING btree (chunk_id);

CREATE INDEX turn_passages_document ON public.turn_passages USING btree (document_id);

CREATE UNIQUE INDEX turns_current ON public.turns USING btree (conversation_id, "position") WHERE (superseded_at IS NULL);

CREATE INDEX turns_messages ON public.turns USING btree (messages_sha256);

CREATE INDEX turns_streaming ON public.turns USING btree (adapter) WHERE (status = 'streaming'::text);

CREATE TRIGGER audit_log_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.audit_log FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER chunks_counted AFTER INSERT ON public.chunks REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION public.count_lexemes();

CREATE TRIGGER chunks_uncounted AFTER DELETE ON public.chunks REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION public.count_lexemes();

CREATE TRIGGER search_options_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON public.search_options FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_change();

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT adapters_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES public.datasets(id);

ALTER TABLE ONLY public.adapters
    ADD CONSTRAINT adapters_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.training_runs(id);

ALTER TABLE ONLY public.chunks
    ADD CONSTRAINT chunks_document_id_fkey FOREIGN KEY (document_id) REFERENCES public.documents(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.corrections
    ADD CONSTRAINT corrections_turn_id_fkey FOREIGN KEY (turn_id) REFERENCES public.turns(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.deployment_servers
    ADD CONSTRAINT deployment_servers_deployment_id_fkey FOREIGN KEY (deployment_id) REFERENCES public.deployments(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_adapter_fkey FOREIGN KEY (adapter) REFERENCES public.adapters(name);

ALTER TABLE ONLY public.deployments
    ADD CONSTRAINT deployments_baseline_fkey FOREIGN KEY (baseline) REFERENCES public.adapters(name);

ALTER TABLE ONLY public.ejections
    ADD CONSTRAINT ejections_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.training_runs(id);

ALTER TABLE ONLY public.feedback
    ADD CONSTRAINT feedback_turn_id_fkey FOREIGN KEY (turn_id) REFERENCES public.turns(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.gate_reports
    ADD CONSTRAINT gate_reports_adapter_fkey FOREIGN KEY (adapter) REFERENCES public.adapters(name);

ALTER TABLE ONLY public.gate_reports
    ADD CONSTRAINT gate_reports_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.training_runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.job_attempts
    ADD CONSTRAINT job_attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.reviews
    ADD CONSTRAINT reviews_turn_id_fkey FOREIGN KEY (turn_id) REFERENCES public.turns(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.training_runs
    ADD CONSTRAINT training_runs_dataset_id_fkey FOREIGN KEY (dataset_id) REFERENCES public.datasets(id);

ALTER TABLE ONLY public.training_runs
    ADD CONSTRAINT training_runs_id_fkey FOREIGN KEY (id) REFERENCES public.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.training_steps
    ADD CONSTRAINT training_steps_run_id_fkey FOREIGN KEY (run_id) REFERENCES public.training_runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.turn_passages
    ADD CONSTRAINT turn_passages_chunk_id_fkey FOREIGN KEY (chunk_id) REFERENCES public.chunks(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.turn_passages
    ADD CONSTRAINT turn_passages_document_id_fkey FOREIGN KEY (document_id) REFERENCES public.documents(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.turn_passages
    ADD CONSTRAINT turn_passages_turn_id_fkey FOREIGN KEY (turn_id) REFERENCES public.turns(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.turns
    ADD CONSTRAINT turns_conversation_id_fkey FOREIGN KEY (conversation_id) REFERENCES public.conversations(id) ON DELETE CASCADE;
