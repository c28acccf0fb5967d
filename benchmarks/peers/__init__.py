"""What runs in a peer's environment, driven by the command line alone."""
