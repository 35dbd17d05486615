"""The settings of a run: their description, their checks, and the two types Config and Settings."""

from distbp.config.choices import CHOICES, name_of
from distbp.config.data import DataOptions
from distbp.config.option import Option, options_of
from distbp.config.settings import NEVER_CHANGES_THE_RESULT, OPTIONS, Config, Settings, default_initial
from distbp.config.shards import default_shards
from distbp.config.words import words_of
from distbp.config.workers import Workers
from distbp.config.written import BESIDE_THE_SETTINGS, CONFIG_JSON, deciding_sha256

__all__ = [
    "BESIDE_THE_SETTINGS",
    "CHOICES",
    "CONFIG_JSON",
    "NEVER_CHANGES_THE_RESULT",
    "OPTIONS",
    "Config",
    "DataOptions",
    "Option",
    "Settings",
    "Workers",
    "deciding_sha256",
    "default_initial",
    "default_shards",
    "name_of",
    "options_of",
    "words_of",
]
