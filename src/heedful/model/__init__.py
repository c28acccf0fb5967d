"""The mathematics of Section 3 and of the recurrent models before it; no loss, optimiser, file or text.

Dimensions, in the paper's letters where it has one:

| in shapes  | meaning                                              |
|------------|------------------------------------------------------|
| `batch`    | sentences                                            |
| `source`   | source positions, EOS included (the paper's n)       |
| `target`   | target positions                                     |
| `query`    | positions that ask, `key`: positions that answer     |
| `d_model`  | width of every sublayer's output                     |
| `d_ff`     | inner width of the feed-forward network              |
| `heads`    | attention heads, h                                   |
| `d_k`, `d_v` | width of one head's queries and keys, and values   |
| `vocab`    | classes of the projection                            |
| `rows`     | batch * beam, the sequences a search carries         |

A mask is boolean and True where attention may look.
"""
