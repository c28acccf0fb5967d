"""Record attention once, draw it many ways (the paper's Figures 3 to 5): HTML, PNG, NPZ, JSON."""
