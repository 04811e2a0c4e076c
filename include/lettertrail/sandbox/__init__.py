"""A sample world to try LetterTrail on: a Bitrix site, its REST interface and the ESPs, all local and seeded.

Only the demo, the benchmarks and the tests import this package; the pipeline never does.
"""
