"""One process of stages: ``python -m chaos.stage_process '{"port": …, "dsn": …, …}'`` (a ``StageConfig``)."""

from __future__ import annotations

import asyncio
import json
import sys

from chaos.stage import StageConfig, Stages
from chaos.tricks import TRICKS

if __name__ == "__main__":
    asyncio.run(Stages(StageConfig(**json.loads(sys.argv[1])), TRICKS).run())
