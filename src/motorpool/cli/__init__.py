"""The words a user types: one file per verb."""
