"""Configurations: what they may say, and checks before anything runs.

The only part of the library that needs pydantic. It is read whenever the workflow is parsed, so it
imports nothing slow.
"""

from robustseg.config.loading import load_config, read_yaml
from robustseg.config.reference import describe
from robustseg.config.schema import Config

__all__ = [
    "Config",
    "describe",
    "load_config",
    "read_yaml",
]
