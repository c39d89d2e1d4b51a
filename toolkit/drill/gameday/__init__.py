"""A game day: something breaks at a moment that nobody knows, and people work against the clock, in JupyterLab.

    levels, planning     what a difficulty means; which scenario, when, what on top: drawn from the seed
    combining            which fault can be put in on top of which
    hints                what the facilitator may tell, step by step
    place, talking       the private folder of the one that runs; how commands reach its director
    game, director       the drill that a person plays, and the process that owns its schedule
    launching, current   start one; find it, end it in order, whatever became of its director
    figures              the score: a drill's, and what help was taken, apart from it
    sheets, steps        the notebooks with their parameters set, and what to do next
    watching, board      what the senders meet just now, and how JupyterLab shows it

What broke is known to the director, its private folder and nobody else, until the game day has ended.
"""
