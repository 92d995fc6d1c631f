-- One role per service; logins are made members of them by whoever runs the database. Roles belong to the whole server,
-- so they may exist already.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['workflow_runner_submission', 'workflow_runner_status', 'workflow_runner_ingestion']
  LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL;
    END;
  END LOOP;
END
$$;

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO workflow_runner_submission, workflow_runner_status, workflow_runner_ingestion;
