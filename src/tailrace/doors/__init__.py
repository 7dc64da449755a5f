"""HTTP dialects over the log."""
