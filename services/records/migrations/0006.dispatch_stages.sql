-- depends: 0005.callbacks

-- A directory of runs, which one machine holds. Whoever serves it says so again and again; when that stops for long, the
-- others give up the jobs whose runs it holds. The row is also what claims of its slots are counted under.
CREATE TABLE run_directories (
  -- Made once and kept in the directory itself.
  directory text PRIMARY KEY,
  host text NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  seen_time timestamptz NOT NULL DEFAULT now()
);

ALTER TABLE dispatch
  -- waiting → staging → staged → launching → running → publishing → releasing; a job that fails goes to the last at once.
  ADD COLUMN stage text NOT NULL DEFAULT 'waiting' CHECK (
    stage IN ('waiting', 'staging', 'staged', 'launching', 'running', 'publishing', 'releasing')
  ),
  ADD COLUMN stage_time timestamptz NOT NULL DEFAULT now(),
  -- The directory that holds the run, or what is prepared of it; empty when nothing is anywhere, or a run needs none.
  ADD COLUMN directory text NOT NULL DEFAULT '',
  -- Of the failures in a row: how many no waiting cures, and since when there are any.
  ADD COLUMN faults integer NOT NULL DEFAULT 0,
  ADD COLUMN failing_since timestamptz;

UPDATE dispatch SET stage = CASE WHEN ended THEN 'releasing' WHEN launched THEN 'running' ELSE 'waiting' END;

-- A service of the last release knows `launched` and `ended` only, and may still be at work. They go with the next one.
CREATE FUNCTION keep_stage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.stage <> OLD.stage THEN
    NEW.stage_time := now();
    NEW.launched := NEW.stage IN ('launching', 'running', 'publishing');
    NEW.ended := NEW.stage = 'releasing';
  ELSIF NEW.ended AND NOT OLD.ended THEN
    NEW.stage := 'releasing';
  ELSIF NEW.launched AND NOT OLD.launched THEN
    NEW.stage := 'running';
  END IF;
  RETURN NEW;
END
$$;

CREATE TRIGGER dispatch_keeps_stage
  BEFORE UPDATE ON dispatch
  FOR EACH ROW
  WHEN (NEW.stage <> OLD.stage OR NEW.ended <> OLD.ended OR NEW.launched <> OLD.launched)
  EXECUTE FUNCTION keep_stage();

DROP INDEX dispatch_waiting, dispatch_running, dispatch_ended;
-- What waits, by workspace, since they take turns, and in the order of acceptance.
CREATE INDEX dispatch_waiting ON dispatch (backend, workspace, job_id) WHERE stage = 'waiting';
-- What is under way: a few rows for each directory.
CREATE INDEX dispatch_under_way ON dispatch (directory, stage, due_time) WHERE stage <> 'waiting';

-- The moment of an event is not that of the transaction that it shares with others.
ALTER TABLE job_events ALTER COLUMN event_time SET DEFAULT clock_timestamp();

GRANT SELECT, INSERT, UPDATE, DELETE ON run_directories TO workflow_runner_submission;
