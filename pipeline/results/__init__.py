"""Tables -> metrics, report, run directory.

``trades`` pairs the fills, ``tables`` holds what a run leaves behind, ``metrics`` says it in numbers, ``report`` on a
page, ``digest`` in one hash, and ``rundir`` publishes all of it whole or not at all.
"""
