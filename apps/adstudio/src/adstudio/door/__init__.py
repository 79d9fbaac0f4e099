"""The way in and the way out: photo and copy come in, ads go out, each tenant's to that tenant alone."""

from adstudio.door.routes import Door

__all__ = ["Door"]
