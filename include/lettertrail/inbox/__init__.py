"""The inbox: takes webhooks in at once and for good (`app`, `store`), understands them later (`process`).

What arrives is a hint that makes things fast; polling stays the truth that makes them complete.
"""
