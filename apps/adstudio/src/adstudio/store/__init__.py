"""Where pictures are kept: in the database's rows, in a folder, or in an S3-compatible bucket.

A row that says done must never name a file that is not there whole. So a file is written first, under a name made of
its content, and only then does the row name it; a stage that is repeated writes the same name again.
"""

from adstudio.store.shelf import Kept, Shelf, open_shelf
from adstudio.store.trouble import StoreAway

__all__ = ["Kept", "Shelf", "StoreAway", "open_shelf"]
