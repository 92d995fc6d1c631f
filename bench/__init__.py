"""Benchmarks: what a request and a job cost, as ratios to something plain that is measured in the same run."""
