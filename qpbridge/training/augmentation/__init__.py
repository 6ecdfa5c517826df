"""Chance that makes one annotation many: places bent and turned, colors changed."""
