"""The senders: Whop's side of the wire, the dashboard's readers, and the cron caller.

They behave as real ones do, retries, duplicates and all, and write down what they met. They know the service's address
and secrets and nothing else: not the database, not the schema, not which fault is coming.

    story     what happens to members, decided by a seed
    outbox    at-least-once: what is due, what waits, what is tried again and when
    caller    one request over the wire, and what it met
    traffic   the loops that bring these together with the ledger

`python -m toolkit.drill.senders CONFIG.json` runs them.
"""
