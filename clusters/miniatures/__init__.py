"""API servers and DNS servers that are wrong in one decision each: for the judge to catch."""
