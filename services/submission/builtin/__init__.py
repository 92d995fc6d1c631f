"""The process that is built in, and the backend that runs it."""
