"""The relay: transactional letters of the site go into an outbox (`intake`) and out through a service (`worker`).

At most once visible: an attempt is written down before the call, and a call without an answer is looked up, not
repeated.
"""
