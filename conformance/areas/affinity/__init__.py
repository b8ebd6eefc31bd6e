"""Requirements on sessionAffinity."""
