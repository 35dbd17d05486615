"""Every setting of a run in one frozen object that is checked when it is built."""

from distbp.config.choices import CHOICES, name_of
from distbp.config.settings import NEVER_CHANGES_THE_RESULT, Config, Settings, default_initial
from distbp.config.shards import default_shards
from distbp.config.words import words_of
from distbp.config.workers import Workers
from distbp.config.written import BESIDE_THE_SETTINGS, SETTINGS, deciding_sha256

__all__ = [
    "BESIDE_THE_SETTINGS",
    "CHOICES",
    "NEVER_CHANGES_THE_RESULT",
    "SETTINGS",
    "Config",
    "Settings",
    "Workers",
    "deciding_sha256",
    "default_initial",
    "default_shards",
    "name_of",
    "words_of",
]
