"""A plugin: Hypothesis draws the same examples in every run, and no test depends on the machine's speed.

``pytest --hypothesis-profile=default`` draws other examples each time, to look for new ones by hand.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "same_each_time", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same_each_time")
