"""What a game day ended with, in its notebook: the score, and the picture of the post-mortem."""

from toolkit.analysis import analyse
from toolkit.drill.gameday.current import latest, score_of
from toolkit.notebook.display import box, show_svg, show_table
from toolkit.playbook import load_playbook
from toolkit.report.figures import overview, swimlanes


def show_result() -> None:
    """The latest game day's; while it goes on, that it does. UsageError where there was none."""
    state = latest()
    if not state.ended:
        box("The game day goes on. The score comes when it is finished.")
        return
    score = score_of(state.folder)
    box(
        "<b>Passed</b>" if score.passed else f"<b>Not passed</b>: {score.outcome}",
        "#0072B2" if score.passed else "#D55E00",
    )
    show_table(score.rows())
    analysis = analyse(state.folder, load_playbook())
    for picture in (overview(analysis), swimlanes(analysis)):
        show_svg(picture.svg, picture.alt)
