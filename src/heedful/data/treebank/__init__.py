"""Bracketed trees ⇄ token sequences (Section 6.3): read, cleaned, written as a line, written as symbols.

Knows no model, and of text only the words that stand in trees.
"""
