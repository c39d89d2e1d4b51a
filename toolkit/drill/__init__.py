"""Drills: a sandbox (real PostgreSQL, the service, its platform, its senders), a fault, the line of notebooks, a score.

Only the command line and the drill's own notebook import this package. Nothing that acts in an emergency may.
"""
