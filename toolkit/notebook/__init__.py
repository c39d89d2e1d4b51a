"""Notebooks: run one with checked parameters, quickly, keep its output; and what their cells share.

`run` executes a notebook with papermill, `forkserver` and `engine` make that quick, `desk` is the first line of every
notebook, `display` shows results. Importing this package imports none of them.
"""
