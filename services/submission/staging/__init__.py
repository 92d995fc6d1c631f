"""Brings files to where a run can read them."""
