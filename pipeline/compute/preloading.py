"""The first thing that the fork server imports: what it imports next is to stay (`pipeline.garbage`).

Ctrl-C is the parent's business from the start: what the fork server ignores by then, workers ignore as they are born,
before they come to `pipeline.compute.workers.prepare`. They begin with `pipeline.garbage.settle`. Nothing else imports
this.
"""

import gc
import signal

gc.disable()
signal.signal(signal.SIGINT, signal.SIG_IGN)
