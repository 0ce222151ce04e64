"""Data connections, gathered for the InferenceServices of their namespace."""
