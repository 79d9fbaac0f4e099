"""``adstudio quality``: every ad of a folder made and judged without a database; values, times, a contact sheet."""

from __future__ import annotations

import csv
import json
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from adstudio.compute import ASSETS
from adstudio.vision.ad_copy import AdCopy, copy_of_fields
from adstudio.vision.contact_sheet import contact_sheets
from adstudio.vision.copy_reading import read_copy
from adstudio.vision.detector import load_detector
from adstudio.vision.errors import InputError
from adstudio.vision.faces import FaceModel
from adstudio.vision.formats import chosen
from adstudio.vision.judge import judge_parting
from adstudio.vision.kit import Kit, read_kit
from adstudio.vision.likeness import MOST_DIFFERENT, difference, thumbnail
from adstudio.vision.making import Picture, chosen_of, detect, draw_all, judge_all, plan_all
from adstudio.vision.ocr import Ocr
from adstudio.vision.opened import opened
from adstudio.vision.quality import validate_photo
from adstudio.vision.shapes import Check
from adstudio.vision.subject import SubjectModel
from pgbaton.errors import ConfigError

STAGES: Final = ("vlm_analyze", "yolo_detect", "planner", "overlay", "vlm_judge")
_ROLES: Final = ("headline", "sub", "offer", "cta", "brand", "legal")
_PHOTOS: Final = (".jpg", ".jpeg", ".png", ".webp")


@dataclass
class Entry:
    """One photo with its copy, and its ads once they were made. ``seconds``: CPU time by stage."""

    name: str
    photo: Path
    copy: dict[str, str]
    formats: list[str] | None = None
    brand: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    reading: Check | None = None

    def passed(self, picture: Picture) -> bool:
        """Whether the judge passes one of its ads: the picture, and how the copy was read."""
        read = self.reading is None or self.reading.passed
        return read and picture.verdict is not None and picture.verdict.passed

    def ad_copy(self) -> AdCopy:
        """Raises ``CopyError``."""
        return read_copy(self.copy["copy"]) if "copy" in self.copy else copy_of_fields(**self.copy)

    def kit(self) -> Kit:
        """Raises ``BrandError``."""
        logo = self.brand.get("logo")
        given = {key: value for key, value in self.brand.items() if key != "logo"}
        return read_kit(**given, logo=(self.photo.parent / logo).read_bytes() if logo else None)  # type: ignore[arg-type]


def read_folder(folder: Path) -> list[Entry]:
    """The entries of ``set.toml`` in ``folder``; without one, each photo whose copy is in a .txt of its name.

    Raises :class:`ConfigError`.
    """
    listed = folder / "set.toml"
    try:
        if listed.is_file():
            table = tomllib.loads(listed.read_text(encoding="utf-8"))
            photos = folder / table.get("photos", ".")
            return [_entry(photos, one) for one in table.get("ad", ())]
        found = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in _PHOTOS]
        return [
            Entry(path.stem, path, {"copy": path.with_suffix(".txt").read_text(encoding="utf-8")})
            for path in found
            if path.with_suffix(".txt").is_file()
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise ConfigError(f"{folder}: {error}") from None


def _entry(photos: Path, one: dict[str, object]) -> Entry:
    texts: dict[str, str] = {key: str(one[key]) for key in ("copy", *_ROLES) if key in one}
    formats = one.get("formats")
    brand = one.get("kit")
    return Entry(
        str(one["name"]),
        photos / str(one["photo"]),
        texts,
        list(formats) if isinstance(formats, list) else None,
        {str(k): str(v) for k, v in brand.items()} if isinstance(brand, dict) else {},
    )


class Maker:
    """The models, loaded once."""

    def __init__(self) -> None:
        self.detector = load_detector(None)
        self.subject = SubjectModel(ASSETS / "models" / "u2netp.onnx")
        self.faces = FaceModel(ASSETS / "models" / "face_detection_full_range.tflite")
        self.ocr = Ocr()

    def make(self, entry: Entry) -> None:
        """Make and judge an entry's ads; its ``refusals`` tell of formats that cannot be."""
        clock = _Clock(entry.seconds)
        try:
            file, copy, formats, kit = entry.photo.read_bytes(), entry.ad_copy(), chosen(entry.formats), entry.kit()
            verdict = validate_photo(opened(file), copy.language)
            entry.refusals += [check.reason for check in verdict.checks if not check.passed]
            clock.lap("vlm_analyze")
            detection = detect(file, copy, self.detector, self.subject, self.faces)
            clock.lap("yolo_detect")
            planned = plan_all(file, detection, copy, formats, kit)
            clock.lap("planner")
            pictures = draw_all(file, planned.layouts, copy, kit)
            clock.lap("overlay")
            entry.pictures = judge_all(file, pictures, copy, self.detector, self.subject, self.faces, self.ocr)
            entry.reading = judge_parting(copy)
            clock.lap("vlm_judge")
            entry.refusals += [reason.told(copy.language) for _, reason in planned.refused]
        except InputError as error:
            entry.refusals.append(str(error))


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds, self._last = seconds, time.process_time()

    def lap(self, stage: str) -> None:
        now = time.process_time()
        self._seconds[stage], self._last = round(now - self._last, 3), now


def run_quality(folder: Path, out: Path, console: Console, *, keep: bool = False) -> int:
    """Make everything in ``folder``, write pictures, values and contact sheets to ``out``; returns the exit code.

    ``keep``: the ads become the folder's golden images; otherwise they are compared with them. Raises
    :class:`ConfigError`.
    """
    entries = read_folder(folder)
    if not entries:
        raise ConfigError(f"{folder}: no set.toml, and no photo with a .txt of its name")
    out.mkdir(parents=True, exist_ok=True)
    maker = Maker()
    for entry in entries:
        maker.make(entry)
        for picture in chosen_of(entry.pictures):
            (out / f"{entry.name}-{picture.layout.format}.jpg").write_bytes(picture.jpeg)
    drifted = _compare(entries, folder / "golden", keep=keep)
    (out / "values.csv").write_text(_values(entries), encoding="utf-8")
    sheets = contact_sheets(list(_cells(entries)))
    for number, sheet in enumerate(sheets, start=1):
        (out / f"sheet-{number}.jpg").write_bytes(sheet)
    _print(entries, out, len(sheets), console)
    for name in drifted:
        console.print(f"{name}: looks other than its golden image", markup=False)
    return 0 if all(entry.passed(picture) for entry in entries for picture in chosen_of(entry.pictures)) else 1


def _compare(entries: list[Entry], golden: Path, *, keep: bool) -> list[str]:
    """The ads that look other than their golden images; with ``keep`` they become the golden images."""
    drifted = []
    for entry in entries:
        for picture in chosen_of(entry.pictures):
            kept = golden / f"{entry.name}-{picture.layout.format}.jpg"
            if keep:
                golden.mkdir(exist_ok=True)
                kept.write_bytes(thumbnail(picture.jpeg))
            elif kept.is_file() and difference(thumbnail(picture.jpeg), kept.read_bytes()) > MOST_DIFFERENT:
                drifted.append(kept.stem)
    return drifted


def _cells(entries: list[Entry]) -> Iterator[tuple[str, bytes, bool]]:
    for entry in entries:
        for picture in chosen_of(entry.pictures):
            label = f"{entry.name} · {picture.layout.format} · {picture.layout.master}"
            yield label, picture.jpeg, entry.passed(picture)


def _values(entries: list[Entry]) -> str:
    from io import StringIO

    out = StringIO()
    writer = csv.writer(out)
    writer.writerow(["ad", "format", "master", "check", "value", "limit", "unit", "passed", "reason"])
    for entry in entries:
        for picture in chosen_of(entry.pictures):
            for check in picture.verdict.checks if picture.verdict else ():
                where = (entry.name, picture.layout.format, picture.layout.master)
                writer.writerow([*where, check.name, check.value, check.limit, check.unit, check.passed, check.reason])
        if (read := entry.reading) is not None:
            row = [entry.name, "", "", read.name, read.value, read.limit, read.unit, read.passed, read.reason]
            writer.writerow(row)
        if entry.refusals:
            writer.writerow(
                [entry.name, "", "", "refused", "", "", "", False, json.dumps(entry.refusals, ensure_ascii=False)]
            )
    return out.getvalue()


def _print(entries: list[Entry], out: Path, sheets: int, console: Console) -> None:
    table = Table(
        box=None, pad_edge=False, header_style="bold", title="CPU seconds in each stage", title_justify="left"
    )
    for column in ("ad", *STAGES, "all", "formats", "verdict"):
        table.add_column(column, justify="right" if column in (*STAGES, "all") else "left", no_wrap=True)
    for entry in entries:
        picked = chosen_of(entry.pictures)
        failed = [one.layout.format for one in picked if not entry.passed(one)]
        times = [f"{entry.seconds[stage]:.2f}" if stage in entry.seconds else "–" for stage in STAGES]
        verdict = "refused" if not picked else f"fails: {', '.join(failed)}" if failed else "passed"
        table.add_row(entry.name, *times, f"{sum(entry.seconds.values()):.2f}", str(len(picked)), verdict)
    console.print(table)
    for entry in entries:
        for picture in chosen_of(entry.pictures):
            for check in picture.verdict.checks if picture.verdict else ():
                if not check.passed:
                    console.print(f"{entry.name} {picture.layout.format}: {check.reason}", markup=False, soft_wrap=True)
        for refusal in entry.refusals:
            console.print(f"{entry.name}: {refusal}", markup=False, soft_wrap=True)
        if entry.reading and not entry.reading.passed:
            console.print(f"{entry.name}: {entry.reading.reason}", markup=False, soft_wrap=True)
    made = [(entry, one) for entry in entries for one in chosen_of(entry.pictures)]
    passed = sum(entry.passed(one) for entry, one in made)
    seconds = sorted(sum(entry.seconds.values()) for entry in entries)
    console.print(
        f"\n{len(entries)} pairs, {len(made)} ads, {passed} passed; CPU a pair: "
        f"median {seconds[len(seconds) // 2]:.2f} s, most {seconds[-1]:.2f} s\n"
        f"{sheets} contact sheets and values.csv in {out}",
        markup=False,
    )
