"""The first thing that the fork server imports: what it imports next is to stay (`pipeline.garbage`).

Workers, forked from it, begin with `pipeline.garbage.settle`. Nothing else imports this.
"""

import gc

gc.disable()
