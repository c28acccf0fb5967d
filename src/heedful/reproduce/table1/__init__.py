"""Table 1 (Section 4): what layer types cost, how long they wait, how far apart they leave positions."""
