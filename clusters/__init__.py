"""Where it happens: clusters to judge Services on, reached by URL."""
