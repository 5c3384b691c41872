"""The multi-agent particle environments in a batched form of our own: all worlds are one array."""
