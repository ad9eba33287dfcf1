"""Where work runs and what it costs.

``choose`` turns the config's wish into a kind and a number of workers, ``scheduler`` starts it, ``workers`` keeps
processes warm and ends them, ``cluster`` does the same for `distributed`, ``monitor`` says what a run took.
"""
