"""``adstudio serve``: a door, a database, the application, and an orderly end."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from pydantic import SecretStr

from adstudio import says
from adstudio.config import AppSettings
from adstudio.home import ADDRESS, embedded_home
from adstudio.main import create_app
from adstudio.says import Said
from adstudio.server import open_door, serve, stopped_by_signal


async def run_server(settings: AppSettings) -> None:
    """Serve until a signal. Without a database URL, with an embedded Postgres in the data folder."""
    say = says.speaker(settings.log_language)
    async with AsyncExitStack() as stack:
        stop = stack.enter_context(stopped_by_signal())
        doors = stack.enter_context(open_door(settings.host, settings.port))
        stages_url = None
        if settings.database_url is None:
            folder = settings.data_folder
            home = await stack.enter_async_context(embedded_home(folder, durable=True))
            say(Said.EMBEDDED, folder=folder, address=folder / ADDRESS)
            settings = settings.model_copy(update={"database_url": SecretStr(home.database_url)})
            stages_url = home.stages_url
        application = create_app(settings, stages_url=stages_url)
        started = partial(say, Said.SERVING, title=settings.title, url=settings.base_url)
        await serve(application, doors, stop, started)
    say(Said.ENDED)
