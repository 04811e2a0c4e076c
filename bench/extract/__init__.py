"""How fast a table is copied, kept fresh and proven: `python -m bench.extract`; results in results.md."""
