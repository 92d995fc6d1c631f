"""What the services share in the database and the object store: jobs, processes, artifacts, the schema."""
