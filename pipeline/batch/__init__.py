"""Many runs, one after the other, from one file: resumed after a crash, retried where that helps, told the truth of.

The modules, in the order a night goes::

    file        a batch's YAML, checked
    planning    the runs it names, in the order they can be made
    worker      the process that makes them, with one set of warm workers
    attempt     one run in it: its deadline, its death
    nightly     the night: locks, retries, needs, states, exit code
    record      batch.json and its history
    table, page, exposition   what people and monitoring see of it
    retention   what is removed in the end
    units       systemd and cron
"""
