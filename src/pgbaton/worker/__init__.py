"""One worker: ``engine`` puts it together; ``dispatcher`` is its loop, ``resolver`` settles what a turn does not.

``store`` is the journal as statements, ``lease`` the name under which the worker claims, ``in_flight`` what it has
claimed, ``upkeep`` its periodic work. ``listener`` and ``gate`` wake it; without them it polls.
"""
