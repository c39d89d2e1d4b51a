"""The senders: Slack, PagerDuty, Statuspage, mail. One module each, the only importers of their libraries.

A sender sends one message once. It never repeats a request by itself: whether a message may be sent again is decided by
whoever knows what was journaled. What a failure means is in the error: `NotSent`, and whether it may have been sent all
the same. Tokens travel in headers and stand in no error.
"""

from toolkit.adapters.notify.message import NotSent, Outgoing, Receipt, Sender

__all__ = ["NotSent", "Outgoing", "Receipt", "Sender"]
