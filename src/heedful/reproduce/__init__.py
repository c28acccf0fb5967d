"""The paper's tables and the lecture's claims, made anew: a package for each, `heedful reproduce NAME` runs it."""
