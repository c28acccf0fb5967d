"""heedful beside its peers: the same data, shapes, batches and threads, in turn in one run. `make bench`.

Every contender is a process of its own. Modules under `peers` run in the peers' own environments and import neither
heedful nor anything of ours but each other.
"""
