"""The application's settings, all from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from adstudio.vision.vlm import VisionEndpoint
from pgbaton.config import PostgresUrl, read_settings
from pgbaton.errors import ConfigError


class AppSettings(BaseSettings):
    """What the environment says of this application; durations are in seconds.

    ``vlm_url`` is an OpenAI-compatible address up to ``/v1``; without one the two LLaVA stages use measured checks
    that call themselves that. ``yolo_model`` is the path of a YOLO file (ONNX) to use instead of the shipped detector.
    The operators' page is at ``/admin`` where one of its tokens is set: ``pgbaton_web_token`` for who may act,
    ``pgbaton_web_viewer_token`` for who may look.
    """

    model_config = SettingsConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True)

    database_url: PostgresUrl | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8011, ge=1, le=65535)
    root_path: str = ""
    part_name: str = Field(default="yh", min_length=1, max_length=100)
    enable_job_state_listener: bool = True
    job_state_listener_reconnect_delay: float = Field(default=5, gt=0, le=3600)
    log_language: Literal["ko", "en"] = "ko"
    data_folder: Path = Field(default=Path(".adstudio"), validation_alias="ADSTUDIO_DATA")
    stage_base_url: str | None = None
    vlm_url: str | None = None
    vlm_model: str = "llava"
    vlm_api_key: SecretStr | None = None
    vlm_timeout: float = Field(default=120, gt=0, le=3600)
    yolo_model: Path | None = None
    pgbaton_web_token: SecretStr | None = None
    pgbaton_web_viewer_token: SecretStr | None = None

    @property
    def title(self) -> str:
        return f"app-{self.part_name} (Planner/Overlay/Eval)"

    @property
    def base_url(self) -> str:
        """Where this application's own stages are called."""
        if self.stage_base_url:
            return self.stage_base_url
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def vision_endpoint(self) -> VisionEndpoint | None:
        """The vision-language model to ask, if one is configured."""
        if self.vlm_url is None:
            return None
        return VisionEndpoint(self.vlm_url, self.vlm_model, self.vlm_api_key, self.vlm_timeout)


def load() -> AppSettings:
    """The settings of this process. Raises :class:`ConfigError` naming the variable that is wrong."""
    return read_settings(AppSettings)


__all__ = ["AppSettings", "ConfigError", "load"]
