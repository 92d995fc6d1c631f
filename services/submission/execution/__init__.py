"""From an execute request to the inputs, outputs and mode of a job."""
