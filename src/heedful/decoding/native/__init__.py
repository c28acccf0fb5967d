"""Translating with a compiled engine, where there is a compiler; what it computes is what the plain path computes."""
