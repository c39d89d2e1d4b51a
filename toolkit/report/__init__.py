"""Renders an analysis: figures, and the post-mortem as Markdown and as one self-contained HTML file. Measures nothing.

canvas, overview, swimlanes, figures    pictures with their alternative text
citations, statements                   sentences with references that a reader can follow
postmortem, page                        the documents
"""

from toolkit.report.figures import Picture
from toolkit.report.postmortem import Report, write_postmortem

__all__ = ["Picture", "Report", "write_postmortem"]
