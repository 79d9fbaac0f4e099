"""What becomes of a call, by answer and row (outcome), and of a job as a whole (verdict). Pure functions."""
