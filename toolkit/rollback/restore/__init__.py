"""Restoring: a copy beside production, verified there, and put in its place without losing what came since.

sources, source_reading      which backups and dumps there are, and which one to take
survey, ways                 what hangs on the schemas, and by which way the copy comes in
beside, verification         the copy, under names of its own, held against what was backed up
exchange, swap_schemas       schemas change places in one transaction
swap_databases, staging      databases change names, after a catch-up while nobody can connect
reload                       rows of damaged tables are put back in place
records                      what the target itself keeps of all that
planner                      the plan of a restore
"""
