"""The post-mortem's templates: the playbook's own, filled in (`postmortem.md.j2`), and the page around it."""
