"""Search for the most probable target (Section 6.1): filters, a chooser and a length penalty around one loop."""
