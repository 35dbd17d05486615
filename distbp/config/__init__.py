"""Every setting of a run in one frozen object that is checked when it is built."""

from distbp.config.choices import CHOICES, name_of
from distbp.config.settings import NEVER_CHANGES_THE_RESULT, Config, default_shards
from distbp.config.words import words_of

__all__ = ["CHOICES", "NEVER_CHANGES_THE_RESULT", "Config", "default_shards", "name_of", "words_of"]
