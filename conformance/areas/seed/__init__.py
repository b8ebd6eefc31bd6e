"""The blog post the project started from, sentence by sentence."""
