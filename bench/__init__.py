"""Side-by-side measurements against named peers; never part of the tests."""
