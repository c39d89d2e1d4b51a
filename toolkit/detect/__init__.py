"""Detection: from what can be observed to signals, from signals to a severity, to an incident that opens by itself.

watch       one question, asked again and again in a thread of its own
observe     what one poll saw, put together from all watches
signals     thresholds, a minimum of samples, hysteresis; pure
severity    the playbook's P0 to P3, with reasons in its words; pure
monitor     the process that polls, journals, opens the incident and follows its severity

It knows what a service looks like from outside. It must never know of drills or faults, and it acts on nothing.
"""
