"""What makes a target of something else; each is imported only when it is asked for."""

from __future__ import annotations
