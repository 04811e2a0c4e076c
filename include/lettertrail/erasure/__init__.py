"""Erasing a person for good, keeping them erased, and handing out what is known of them (docs/erasure.md)."""
