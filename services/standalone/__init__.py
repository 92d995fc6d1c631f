"""One machine: PostgreSQL, Envoy, the policy engine and the three services under one command."""
