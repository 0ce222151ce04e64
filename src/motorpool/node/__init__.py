"""Makes the Pods that are bound to this machine true."""
