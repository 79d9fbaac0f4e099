"""Decisions about a call, by answer and row (outcome), and about a job as a whole (verdict). Pure functions."""
