"""What the models cost: `python -m bench.transform`; results in results.md."""
