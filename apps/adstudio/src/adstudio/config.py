"""The application's settings, all from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pgbaton import Settings
from pgbaton.config import PostgresUrl, load_settings, read_settings
from pgbaton.errors import ConfigError


def _http_address(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be an http:// or https:// address")
    _ = url.port  # raises ValueError on a port that is none
    return value.rstrip("/")


def _prefix(value: str) -> str:
    """``yh/``, ``/yh`` and ``/yh/`` are one prefix; ``/`` is none."""
    inner = value.strip("/")
    return f"/{inner}" if inner else ""


HttpAddress = Annotated[str, AfterValidator(_http_address)]


class RaySize(BaseModel):
    """How large a deployment of Ray Serve is: ``cpus`` and ``gpus`` of each replica (a part of one, too), and how many
    pictures a replica takes at once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1, le=1000)
    cpus: float = Field(default=0.5, ge=0, le=1000)
    gpus: float = Field(default=0, ge=0, le=1000)
    batch: int = Field(default=1, ge=1, le=256)


class RaySizes(BaseModel):
    """The size of each deployment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    detector: RaySize = RaySize()
    subject: RaySize = RaySize()
    vision: RaySize = RaySize()


class AppSettings(BaseSettings):
    """The settings of this application, from the environment; durations are in seconds.

    ``vlm_url`` is an OpenAI-compatible address up to ``/v1``, ``vlm_path`` a folder with a model for ``transformers``;
    without either the two LLaVA stages use measured checks that call themselves that. ``yolo_model`` is the path of a
    YOLO file (ONNX, or .pt for ``ultralytics``) to use instead of the shipped detector, ``yolo_classes`` its classes
    that count. ``assets``: a folder or ``s3://bucket/prefix`` to keep pictures in; without one they are in the
    database. ``ads_tokens``: the token of each tenant, by which its ads are asked for; without them a request's own
    word counts. ``compute``: whether detector, subject map and ``vlm_path`` run in this process or on Ray; ``ray``: how
    large there. The operators' page is at ``/admin`` where one of its tokens is set: ``pgbaton_web_token`` for readers
    who may act, ``pgbaton_web_viewer_token`` for readers who may look.
    """

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True, str_strip_whitespace=True
    )

    database_url: PostgresUrl | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8011, ge=1, le=65535)
    root_path: Annotated[str, AfterValidator(_prefix)] = ""
    part_name: str = Field(default="yh", min_length=1, max_length=100)
    enable_job_state_listener: bool = True
    job_state_listener_reconnect_delay: float = Field(default=5, gt=0, le=3600)
    log_language: Literal["ko", "en"] = "ko"
    data_folder: Path = Field(default=Path(".adstudio"), validation_alias="ADSTUDIO_DATA")
    stage_base_url: HttpAddress | None = None
    vlm_url: HttpAddress | None = None
    vlm_model: str = "llava"
    vlm_api_key: SecretStr | None = None
    vlm_path: Path | None = None
    vlm_timeout: float = Field(default=120, gt=0, le=540)  # a stage has 600
    yolo_model: Path | None = None
    yolo_classes: str = ""
    yolo_threshold: float | None = Field(default=None, gt=0, lt=1)
    assets: str | None = Field(default=None, validation_alias="ADSTUDIO_ASSETS")
    compute: Literal["here", "ray"] = Field(default="here", validation_alias="ADSTUDIO_COMPUTE")
    ray: RaySizes | None = Field(default=None, validation_alias="ADSTUDIO_RAY")
    ads_tokens: SecretStr | None = None
    pgbaton_web_token: SecretStr | None = None
    pgbaton_web_viewer_token: SecretStr | None = None

    @property
    def classes(self) -> list[str]:
        """The detector's classes that count, from ``yolo_classes``: ``cup, wine glass``; none: all."""
        return [name.strip() for name in self.yolo_classes.split(",") if name.strip()]

    @property
    def tenants(self) -> dict[str, str]:
        """Tokens by tenant, from ``ads_tokens``: ``acme=its-token, globex=another``. Raises :class:`ConfigError`."""
        if self.ads_tokens is None:
            return {}
        pairs = [one.partition("=") for one in self.ads_tokens.get_secret_value().split(",") if one.strip()]
        if not all(sign for _, sign, _ in pairs):
            raise ConfigError("ADS_TOKENS: must be tenant=token, and commas between several")
        if len({tenant.strip() for tenant, _, _ in pairs}) < len(pairs):
            raise ConfigError("ADS_TOKENS: a tenant is named twice")
        return {tenant.strip(): token.strip() for tenant, _, token in pairs}

    @property
    def title(self) -> str:
        return f"app-{self.part_name} (Planner/Overlay/Eval)"

    @property
    def base_url(self) -> str:
        """Where this application's own stages are called."""
        if self.stage_base_url:
            return self.stage_base_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @field_validator("vlm_path")
    @classmethod
    def _one_model(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value and info.data.get("vlm_url"):
            raise ValueError("VLM_URL names another model: set one of the two")
        return value

    def worker(self) -> Settings:
        """The settings of the worker in this process: those that are given here, and ``PGBATON_…`` for the rest.

        Raises :class:`ConfigError`.
        """
        return load_settings(
            given={
                "database_url": self.database_url,
                "reconnect_delay": self.job_state_listener_reconnect_delay,
                "log_language": self.log_language,
            }
        )


def load() -> AppSettings:
    """The settings of this process. Raises :class:`ConfigError` naming the variable that is wrong."""
    settings = read_settings(AppSettings)
    settings.worker()  # a wrong PGBATON_… is told at once, too, not when everything else is up
    _ = settings.tenants
    return settings


__all__ = ["AppSettings", "ConfigError", "load"]
