"""Route -> host name, admission, status."""
