"""ReplicaSets: so many pods of one template, whatever happens to each of them."""
