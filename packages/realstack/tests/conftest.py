"""Fixtures of every test of the kit; each subject keeps its own in its folder."""

from .fix_project import builds, environment, project

__all__ = ("builds", "environment", "project")
