"""API servers that are wrong in one decision each: what the judge's API requirements must catch."""
