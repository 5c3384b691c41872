"""`covey study`: comparisons of methods, regenerated from real runs and models."""
