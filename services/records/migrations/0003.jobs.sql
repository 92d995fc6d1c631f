-- depends: 0002.processes

CREATE TABLE jobs (
  -- A UUIDv7: the order of ids is the order of acceptance, which is what lists are paged by.
  job_id uuid PRIMARY KEY,
  workspace text NOT NULL,
  process_id text NOT NULL,
  revision_id uuid NOT NULL REFERENCES process_revisions,
  calling_workspace text NOT NULL,
  owner text NOT NULL,
  state text NOT NULL CHECK (state IN ('accepted', 'running', 'successful', 'failed', 'dismissed')),
  message text,
  progress smallint CHECK (progress BETWEEN 0 AND 100),
  -- The execute request: inputs, outputs, response.
  request json NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  start_time timestamptz,
  end_time timestamptz,
  update_time timestamptz NOT NULL DEFAULT now(),
  attempt integer NOT NULL DEFAULT 0,
  -- The sequence of the last event.
  sequence integer NOT NULL DEFAULT 0,
  failure json,
  results json,
  -- The W3C trace context of the call that made the job.
  trace_parent text,
  CHECK ((end_time IS NOT NULL) = (state IN ('successful', 'failed', 'dismissed'))),
  CHECK ((failure IS NOT NULL) = (state = 'failed'))
);

CREATE INDEX jobs_by_workspace ON jobs (workspace, job_id DESC);
CREATE INDEX jobs_by_state ON jobs (workspace, state, job_id DESC);
CREATE INDEX jobs_by_process ON jobs (workspace, process_id, job_id DESC);
CREATE INDEX jobs_by_calling_workspace ON jobs (workspace, calling_workspace, job_id DESC);
CREATE INDEX jobs_by_create_time ON jobs (workspace, create_time DESC, job_id DESC);

CREATE FUNCTION refuse_revival() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'job % is % and stays so', OLD.job_id, OLD.state;
END
$$;

CREATE TRIGGER ended_jobs_stay_ended
  BEFORE UPDATE OF state ON jobs
  FOR EACH ROW
  WHEN (OLD.state IN ('successful', 'failed', 'dismissed') AND NEW.state <> OLD.state)
  EXECUTE FUNCTION refuse_revival();

-- What the dispatcher has to look at: one narrow row for each job of which a backend may hold something, so that its size
-- follows the backlog and never the history. It outlives a job that is removed, until the backend has let go of it.
CREATE TABLE dispatch (
  job_id uuid PRIMARY KEY,
  workspace text NOT NULL,
  backend text NOT NULL,
  -- Counted from 1 when a launch is tried; written before the backend is asked.
  attempt integer NOT NULL DEFAULT 0,
  launched boolean NOT NULL DEFAULT false,
  -- The job has ended; what is left is to let the backend forget it.
  ended boolean NOT NULL DEFAULT false,
  due_time timestamptz NOT NULL DEFAULT now(),
  -- Rises with every claim; a write with an older one is refused.
  fence bigint NOT NULL DEFAULT 0,
  handle text,
  cursor text NOT NULL DEFAULT '',
  failures integer NOT NULL DEFAULT 0
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 200);

-- Three claims: of what waits for a launch, of what a backend runs, and of what it is to forget.
CREATE INDEX dispatch_waiting ON dispatch (due_time) WHERE NOT launched AND NOT ended;
CREATE INDEX dispatch_running ON dispatch (due_time) WHERE launched AND NOT ended;
CREATE INDEX dispatch_ended ON dispatch (due_time) WHERE ended;

CREATE TABLE job_events (
  job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
  sequence integer NOT NULL,
  kind text NOT NULL CHECK (kind IN ('state', 'progress', 'step', 'log')),
  event_time timestamptz NOT NULL DEFAULT now(),
  details json NOT NULL,
  -- Numbers of concurrent transactions become visible out of order; a tail that reads below the oldest running
  -- transaction, by (xid, id), misses nothing.
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  id bigint GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (job_id, sequence)
);

CREATE INDEX job_events_tail ON job_events (xid, id);

CREATE TABLE job_steps (
  job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
  step text NOT NULL,
  position integer NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'successful', 'failed', 'skipped')),
  start_time timestamptz NOT NULL,
  end_time timestamptz,
  exit_code integer,
  log_size bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (job_id, step)
);

CREATE TABLE idempotency_keys (
  workspace text NOT NULL,
  owner text NOT NULL,
  key text NOT NULL,
  request_digest bytea NOT NULL,
  job_id uuid NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT idempotency_keys_pkey PRIMARY KEY (workspace, owner, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (create_time);

-- Folders of the object store that nothing points to any more.
CREATE TABLE artifact_removals (
  prefix text PRIMARY KEY,
  create_time timestamptz NOT NULL DEFAULT now()
);

GRANT SELECT, INSERT, UPDATE, DELETE
  ON jobs, dispatch, job_events, job_steps, idempotency_keys, artifact_removals TO workflow_runner_submission;
GRANT SELECT ON jobs, job_events, job_steps TO workflow_runner_status;
