"""`covey bench federated`: Covey's engines, hand-written loops and other simulators in one run."""
