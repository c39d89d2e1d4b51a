"""Telling people: the playbook's 'Communication Protocols', from the journal to the channels.

    phases       where an incident stands, in our words, the template's, Statuspage's and PagerDuty's
    facts        what the journal knows that a message tells; what it does not know stays visibly unknown
    templates    the playbook's three texts, word for word, filled in
    cadence      when an update is due, which were made, which were missed
    audiences    who is told at which severity, and by what
    outbox       drafts, and what became of each; kept in the incident's journal
    delivery     sends each draft once: intent first, then the sending, then what came of it
    tickets      what a vendor is told

It never acts on a target but for the notice that the service shows, and it is never in the way of a rollback: nothing
here is called by the runner, and whatever goes wrong with a message stays with the message.
"""
