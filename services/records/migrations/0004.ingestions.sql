-- depends: 0003.jobs

CREATE TABLE ingestions (
  ingestion_id uuid PRIMARY KEY,
  workspace text NOT NULL,
  source text NOT NULL,
  message_id text NOT NULL,
  message_digest bytea NOT NULL,
  bucket_name text NOT NULL,
  state text NOT NULL DEFAULT 'accepted' CHECK (state IN ('accepted', 'successful', 'failed')),
  message text,
  received_from text NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  end_time timestamptz,
  CONSTRAINT ingestions_message_key UNIQUE (workspace, source, message_id)
);

CREATE INDEX ingestions_by_workspace ON ingestions (workspace, ingestion_id DESC);

CREATE TABLE ingestion_actions (
  ingestion_id uuid NOT NULL REFERENCES ingestions ON DELETE CASCADE,
  position integer NOT NULL,
  key text NOT NULL,
  verb text NOT NULL CHECK (verb IN ('deploy', 'undeploy', 'ignore')),
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'successful', 'failed')),
  process_id text,
  revision integer,
  message text,
  attempts integer NOT NULL DEFAULT 0,
  due_time timestamptz NOT NULL DEFAULT now(),
  fence bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (ingestion_id, position)
);

CREATE INDEX ingestion_actions_due ON ingestion_actions (due_time) WHERE state = 'pending';

-- Which process came from which key, so that a deleted key finds its process.
CREATE TABLE harvested_packages (
  workspace text NOT NULL,
  bucket_name text NOT NULL,
  key text NOT NULL,
  process_id text NOT NULL,
  digest text NOT NULL,
  update_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, bucket_name, key)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ingestions, ingestion_actions, harvested_packages TO workflow_runner_ingestion;
