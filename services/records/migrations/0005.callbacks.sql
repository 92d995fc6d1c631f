-- depends: 0004.ingestions

-- Whom a job's callbacks go to: `success_uri`, `in_progress_uri`, `failed_uri`, each or none, and `root`, what the links in
-- them begin with.
ALTER TABLE jobs ADD COLUMN subscriber json;

-- Messages to subscribers, each made in the transaction of the change that it tells, so that none is lost and none is
-- told that did not happen.
CREATE TABLE callbacks (
  -- A UUIDv7: the order of ids is the order in which a job's messages are delivered.
  callback_id uuid PRIMARY KEY,
  job_id uuid NOT NULL REFERENCES jobs ON DELETE CASCADE,
  workspace text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('progress', 'success', 'failure')),
  uri text NOT NULL,
  -- Host and port of the URI: at most one message at a time is under way to each, so that a slow one holds up itself only.
  destination text NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  message text,
  create_time timestamptz NOT NULL DEFAULT now(),
  due_time timestamptz NOT NULL DEFAULT now(),
  -- Until when a sender has it in hand.
  lease_time timestamptz,
  fence bigint NOT NULL DEFAULT 0,
  end_time timestamptz
);

CREATE INDEX callbacks_due ON callbacks (due_time) WHERE state = 'pending';
CREATE INDEX callbacks_under_way ON callbacks (destination) WHERE lease_time IS NOT NULL;
CREATE INDEX callbacks_by_job ON callbacks (job_id, callback_id);
CREATE INDEX callbacks_by_workspace ON callbacks (workspace, callback_id DESC);
CREATE INDEX callbacks_by_state ON callbacks (workspace, state, callback_id DESC);

-- The Ed25519 keys that messages are signed with: every one that is not retired signs, so that subscribers can change from
-- one to the next. Made by the first process that needs one.
CREATE TABLE callback_keys (
  public_key bytea PRIMARY KEY CHECK (length(public_key) = 32),
  private_key bytea NOT NULL CHECK (length(private_key) = 32),
  create_time timestamptz NOT NULL DEFAULT now(),
  retire_time timestamptz
);

GRANT SELECT, INSERT, UPDATE, DELETE ON callbacks TO workflow_runner_submission;
GRANT SELECT, INSERT ON callback_keys TO workflow_runner_submission;
GRANT SELECT ON callbacks TO workflow_runner_status;
GRANT SELECT (public_key, create_time, retire_time) ON callback_keys TO workflow_runner_status;
