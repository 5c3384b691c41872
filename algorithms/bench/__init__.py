"""`covey bench`: Covey and its peers measured in turn, beside what the machine allows."""
