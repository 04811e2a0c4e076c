"""Activation: which audiences exist, what has to change at a destination, what is held back, what was confirmed.

segments.py      the published segments, found in the dbt manifest
plan.py          desired against acknowledged: the difference, worked out in SQL
state.py         is the ledger still what the last push left; otherwise it is read from the destination
brake.py         which part of a plan looks wrong and is held
shown.py         what a person sees of a plan: counts, a sample, the calls
approvals.py     what was held is put to a person; an approval is a ceiling
push.py          plan → brake → push, with one outcome per record in `ops`
audit.py         read-back: what the destination still has of what it confirmed
statements.py    the SQL of the above
"""
