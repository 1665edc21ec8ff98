"""How a model is trained: the session that survives a kill, and its phases in order."""
