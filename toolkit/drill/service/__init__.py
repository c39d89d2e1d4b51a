"""Churn Saver's stand-in: the service that a drill breaks and heals, in a process of its own.

It has the whole HTTP surface of the service that the playbook protects, its business rules and its oddities, and as
many versions of its code as there are deployments to roll back to. It reads nothing of the toolkit but time, errors and
the lifeline, so that whatever verifies it shares no mistake with it.
"""
