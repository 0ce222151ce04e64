"""Who asks, and what they may do: authentication, RBAC, impersonation, tokens, fair shares."""
