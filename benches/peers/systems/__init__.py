"""What disk.py compares, a module each.

A module has these names:

- `PACKAGE`: its name in the registry
- `WHAT`: how it was set up, and why
- `VARIANTS`: kinds of index, by name
- `settings(variant)`: what a search is given, from the cheapest to the one that finds most
- `build(vectors, folder, variant)` and `load(folder, variant, cap)`
- `search(index, queries, setting, threads)`: gives the ids found for each query
"""

import concurrent.futures

LIMIT = 10


def in_threads(search, queries, threads):
    """One query a call, from so many threads."""
    if threads == 1:
        return [search(query) for query in queries]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        return list(pool.map(search, queries))
