-- depends: 0006.dispatch_stages

-- A service is ready when the schema is not older than its code, so each of them reads which migrations were applied.
GRANT SELECT (migration_id) ON _yoyo_migration
  TO workflow_runner_submission, workflow_runner_status, workflow_runner_ingestion;
