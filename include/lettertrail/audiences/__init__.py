"""Activation: which audiences exist, what has to change at a destination, what is held back, what was confirmed.

segments.py      the published segments, found in the dbt manifest
plan.py          desired against acknowledged: the difference, worked out in SQL
brake.py         which part of a plan looks wrong and is held
push.py          plan → brake → push, with one outcome per record in `ops`
statements.py    the SQL of the above
"""
