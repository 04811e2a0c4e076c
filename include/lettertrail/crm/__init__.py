"""What is told to the CRM: values on cards, and to-dos for managers.

fields.py        which column of which mart is which field of a card
plan.py          what differs from what Bitrix confirmed, worked out in SQL
sync.py          plan → brake → push, with the machinery of `audiences/push.py`
follow_ups.py    to-dos about people who opened a letter and did not answer
own_writes.py    which changes of cards were our own
"""
