"""Who may ask the API about tokens: the accounts of pods that protect a model."""
