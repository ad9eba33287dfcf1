"""The first thing that the fork server imports: what it imports next is to stay (`pipeline.imports`).

Workers, forked from it, begin with `pipeline.imports.settle`. Nothing else imports this.
"""

import gc

gc.disable()
