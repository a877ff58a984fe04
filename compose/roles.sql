-- Run once by Postgres's image, as its superuser, on the new and empty database.
-- The product never uses that superuser: ratchet_owner migrates, ratchet_app reads and writes rows.

\set ON_ERROR_STOP on
-- A statement that failed would stand in the log, with the password in it.
SET log_min_error_statement = 'panic';

-- From the environment: arguments can be read by all.
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD

CREATE ROLE ratchet_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE ratchet_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'app_password';

-- Only a superuser may add this extension; the first migration finds it.
CREATE EXTENSION IF NOT EXISTS vector;

ALTER DATABASE :"DBNAME" OWNER TO ratchet_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE :"DBNAME" TO ratchet_app;
REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO ratchet_owner;
