"""The only package that writes to the warehouse: schemas, loads, their ledger and its proof."""
