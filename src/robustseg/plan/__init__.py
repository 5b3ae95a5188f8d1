"""What the work of a configuration costs, before it is begun."""
