-- depends: 0001.roles

-- What was deployed, once and for ever: a job is pinned to a row of this table.
CREATE TABLE process_revisions (
  revision_id uuid PRIMARY KEY,
  workspace text NOT NULL,
  process_id text NOT NULL,
  revision integer NOT NULL CHECK (revision > 0),
  digest text NOT NULL,
  media_type text NOT NULL,
  workflow_id text NOT NULL,
  -- Which backend runs it: empty for the one that is configured, `builtin` for processes of our own.
  backend text NOT NULL DEFAULT '',
  -- json, not jsonb: a description keeps the order and the numbers of its package.
  description json NOT NULL,
  cwl_inputs json NOT NULL,
  deployed_by text NOT NULL,
  create_time timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT process_revisions_revision_key UNIQUE (workspace, process_id, revision)
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are immutable', TG_TABLE_NAME;
END
$$;

CREATE TRIGGER process_revisions_are_immutable
  BEFORE UPDATE OR DELETE ON process_revisions
  FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- What is deployed now. Built-in processes have the workspace `*` and are part of every workspace.
CREATE TABLE processes (
  workspace text NOT NULL,
  process_id text NOT NULL,
  revision_id uuid NOT NULL REFERENCES process_revisions,
  owner text NOT NULL,
  mutable boolean NOT NULL DEFAULT true,
  visibility text NOT NULL DEFAULT 'private' CHECK (visibility IN ('private', 'shared', 'public', 'user_service')),
  shared_workspaces text[] NOT NULL DEFAULT '{}',
  shared_groups text[] NOT NULL DEFAULT '{}',
  update_time timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (workspace, process_id)
);

GRANT SELECT, INSERT ON process_revisions TO workflow_runner_submission;
GRANT SELECT, INSERT, UPDATE, DELETE ON processes TO workflow_runner_submission;
GRANT SELECT ON process_revisions, processes TO workflow_runner_status;
