"""Many runs, one after the other, from one file: resumed after a crash, retried where that helps, told the truth of.

The modules, in the order a night goes::

    door                      what the commands ask for
    file, planning, catchup   a batch's YAML; the runs it names, in order; the evenings that were missed
    nightly, night            the batch from its lock to its last line; its runs, one after the other
    runner, watch             one of them: its deadline, its death; how far it was
    process, wire, worker     the process that makes runs, with warm workers: as its parent holds it, and itself
    record                    batch.json and its history
    doubts                    what of its warnings is new
    progress, table, page     what people see of it
    exposition, notice        what monitoring sees, and who is told of a failure
    retention                 what is removed in the end
    units                     systemd and cron
"""
