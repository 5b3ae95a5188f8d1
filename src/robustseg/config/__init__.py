"""Configurations: what they may say, and checks before anything runs.

Read whenever the workflow is parsed, so it imports nothing slow.
"""

from robustseg.config.loading import check_typed, load_config, read_config
from robustseg.config.reference import describe, json_schema
from robustseg.config.schema import Config
from robustseg.yaml_files import read_yaml

__all__ = [
    "Config",
    "check_typed",
    "describe",
    "json_schema",
    "load_config",
    "read_config",
    "read_yaml",
]
