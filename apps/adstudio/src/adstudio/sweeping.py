"""``adstudio sweep``: the command around :mod:`adstudio.store.sweep`."""

from __future__ import annotations

from adstudio.store import StoreAway, open_shelf
from adstudio.store.sweep import unnamed
from pgbaton import connection
from pgbaton.errors import ConfigError


async def run_sweep(url: str, assets: str, days: int, *, remove: bool) -> str:
    """Finds or removes files that no row names; returns a sentence about them. Raises :class:`ConfigError` where the
    store is away."""
    store = open_shelf(assets).store
    if store is None:  # unreachable with an address; the rows hold their pictures themselves
        return "no pictures are stored outside the rows"
    count = 0
    try:
        async with connection(url) as db:
            async for keys in unnamed(db, store, days):
                if remove:
                    await store.remove(keys)
                count += len(keys)
    except StoreAway as error:
        raise ConfigError(f"ADSTUDIO_ASSETS: the store is away ({error}); {count} files were done") from None
    if remove:
        return f"{count} files that no row names were removed"
    return f"{count} files of {days} days and more are named by no row; --remove removes them"
