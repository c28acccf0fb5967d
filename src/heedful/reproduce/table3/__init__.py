"""Table 3 (Section 6.2): the base model, one thing changed at a time."""
