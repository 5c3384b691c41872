"""`covey study fedgen`: methods of federated distillation compared, regenerated from real runs."""
