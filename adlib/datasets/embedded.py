"""stub"""

from __future__ import annotations


def categories(root):
    raise NotImplementedError


def category(name, root, transform):
    raise NotImplementedError
