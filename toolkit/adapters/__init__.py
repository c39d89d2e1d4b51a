"""Adapters: one for each outside thing (database, platform, service), and the only importers of its library.

An adapter owns the limits of every call, in time and in size, turns what comes back into typed values, and turns every
failure into an error that says what, where and what next. It decides nothing about an incident, keeps no state that
outlives it, and never lets a secret into a value, a representation or an error.
"""
