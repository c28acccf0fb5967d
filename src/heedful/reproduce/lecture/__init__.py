"""The lecture's claims as experiments: each a picture, the numbers behind it, and a sentence of what was seen."""
