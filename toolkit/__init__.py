"""The emergency rollback playbook as software: assess, stabilize, roll back, verify, and write the post-mortem.

Notebooks and the command line stand on top; a drill and a real emergency run the same code, only the target differs.
"""

__version__ = "0.1.0"
