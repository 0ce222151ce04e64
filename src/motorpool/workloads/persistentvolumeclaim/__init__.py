"""Claims and volumes: every claim gets a volume, and every volume is freed when its claim goes."""
