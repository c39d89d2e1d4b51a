"""Detection: from what can be observed to signals, from signals to a severity, to an incident that opens by itself.

seen        what a poll sees and what a signal says, as values
watch       one question, asked again and again in a thread of its own
probing     requests of our own: health, pages, figures
asking      what the database is asked, each question bounded
normal      what to compare with: as recorded, else as the service itself shows
observe     what one poll saw, put together from all watches
signals     thresholds and a minimum of samples; pure (`data_signals`: of the data and the server; `outcomes`: of us)
chance      can so many be chance?
hysteresis  some polls in a row raise a signal or clear it; pure
severity    the playbook's P0 to P3, with reasons in its words; pure
logbook     where it writes: an incident's journal, or memory until there is one
monitor     the process that polls, journals, opens the incident, follows its severity, and says whom to call

It knows what a service looks like from outside. It must never know of drills or faults, and it acts on nothing.
"""
