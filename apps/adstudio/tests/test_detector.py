"""The shipped detector on shipped photos, and YOLO files of every shape, good and foreign."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from adstudio.vision.boxes import iou, share_of_smaller, to_detected
from adstudio.vision.coco import COCO_80
from adstudio.vision.detector import ModelError, NanoDet, Yolo, load_detector
from adstudio.vision.shapes import Box, Rgb
from adstudio.vision.yolo import letterbox

ASSETS = Path(str(files("adstudio") / "assets"))
SIDE, ANCHORS = 32, 21

# Two rows that are there in every synthetic model: one in the middle, one at the left.
BOXES = {0: (16.0, 16.0, 8.0, 4.0), 5: (4.0, 16.0, 8.0, 8.0)}


def photo_of(name: str) -> Rgb:
    return np.array(Image.open(ASSETS / "photos" / name).convert("RGB"))


def flat(height: int, width: int, colour: tuple[int, int, int]) -> Rgb:
    return np.full((height, width, 3), colour, np.uint8)


def yolo_file(
    path: Path,
    *,
    names: str | None = "{0: 'red', 1: 'green', 2: 'blue'}",
    task: str = "detect",
    transposed: bool = False,
    outputs: int = 1,
    size: tuple[int | str, int | str] = (SIDE, SIDE),
    gain: float = 1.0,
) -> Path:
    """An ONNX file in YOLO's layout whose class scores are the image's brightest red, green and blue.

    So a test sees whether the channels and the range of values that it was fed are right.
    """
    boxes = np.zeros((1, 4, ANCHORS), np.float32)
    picked = np.zeros((1, 1, ANCHORS), np.float32)
    for anchor, box in BOXES.items():
        boxes[0, :, anchor] = box
        picked[0, 0, anchor] = gain
    nodes = [
        helper.make_node("ReduceMax", ["images"], ["brightest"], axes=[3], keepdims=0),
        helper.make_node("ReduceMax", ["brightest"], ["colour"], axes=[2], keepdims=1),
        helper.make_node("Mul", ["colour", "picked"], ["scores"]),
        helper.make_node("Concat", ["boxes", "scores"], ["rows" if transposed else "output0"], axis=1),
    ]
    if transposed:
        nodes.append(helper.make_node("Transpose", ["rows"], ["output0"], perm=[0, 2, 1]))
    results = ["output0"]
    for extra in range(1, outputs):
        nodes.append(helper.make_node("Identity", ["output0"], [f"output{extra}"]))
        results.append(f"output{extra}")
    graph = helper.make_graph(
        nodes,
        "synthetic",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in results],
        [numpy_helper.from_array(boxes, "boxes"), numpy_helper.from_array(picked, "picked")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"task": task} | ({"names": names} if names is not None else {}))
    onnx.save(model, str(path))
    return path


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    return tmp_path / "yolo.onnx"


def test_the_shipped_detector_sees_the_cup() -> None:
    seen = load_detector(None).detect(photo_of("coffee.jpg"))
    assert [thing.label for thing in seen] == ["cup"]
    assert seen[0].score > 0.5
    assert iou(seen[0].box, Box(141, 11, 428, 399)) > 0.9


def test_the_shipped_detector_ignores_boxes_over_sixty_percent_of_the_photo() -> None:
    photo = photo_of("chelsea.jpg")
    seen = load_detector(None).detect(photo)
    assert all(thing.box.area <= 0.6 * photo.shape[0] * photo.shape[1] for thing in seen)
    assert "person" not in [thing.label for thing in seen]  # what it takes the whole photo for


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3)])
def test_the_shipped_detector_takes_a_photo_of_any_size(size: tuple[int, int]) -> None:
    for thing in load_detector(None).detect(flat(*size, (90, 90, 90))):
        assert 0 <= thing.box.left < thing.box.right <= size[1]
        assert 0 <= thing.box.top < thing.box.bottom <= size[0]


def test_coco_has_its_eighty_classes_in_order() -> None:
    assert (len(COCO_80), COCO_80[0], COCO_80[41], COCO_80[79]) == (80, "person", "cup", "toothbrush")


def test_nanodet_refuses_another_model() -> None:
    path = ASSETS / "models" / "u2netp.onnx"
    with pytest.raises(ModelError, match="u2netp"):
        NanoDet(path)


def test_a_yolo_file_is_fed_rgb_from_zero_to_one_and_named_from_its_metadata(yolo: Path) -> None:
    detector = load_detector(yolo_file(yolo))
    for colour, label in (((255, 0, 0), "red"), ((0, 255, 0), "green"), ((0, 0, 255), "blue")):
        seen = detector.detect(flat(SIDE, SIDE, colour))
        assert {thing.label for thing in seen} == {label}
        assert [round(thing.score, 3) for thing in seen] == [1.0, 1.0]
        assert {thing.box for thing in seen} == {Box(12, 14, 20, 18), Box(0, 12, 8, 20)}


def test_yolo_boxes_come_back_from_the_letterbox_to_the_photo(yolo: Path) -> None:
    seen = Yolo(yolo_file(yolo)).detect(flat(100, 400, (255, 0, 0)))  # a band 8 high, 12 below the top
    assert Box(150, 25, 250, 75) in [thing.box for thing in seen]  # (12, 14, 20, 18), less 12, times 12.5


def test_yolo_boxes_are_clipped_to_the_photo(yolo: Path) -> None:
    seen = Yolo(yolo_file(yolo)).detect(flat(400, 100, (255, 0, 0)))  # the left box lies in the padding
    assert [thing.box for thing in seen] == [Box(0, 175, 100, 225)]


def test_yolo_counts_only_what_reaches_the_threshold(yolo: Path) -> None:
    assert Yolo(yolo_file(yolo), threshold=0.35).detect(flat(SIDE, SIDE, (80, 80, 80))) == []


@pytest.mark.parametrize("names", [None, "", "not python (", "__import__('os').getcwd()", "[" * 5000, "{'a': 'b'}"])
def test_yolo_classes_without_usable_names_are_numbered(yolo: Path, names: str | None) -> None:
    seen = Yolo(yolo_file(yolo, names=names)).detect(flat(SIDE, SIDE, (0, 255, 0)))
    assert {thing.label for thing in seen} == {"class 1"}


def test_a_yolo_file_of_free_size_gets_the_usual_one(yolo: Path) -> None:
    detector = Yolo(yolo_file(yolo, size=("height", "width")))
    assert Box(12, 14, 20, 18) in [thing.box for thing in detector.detect(flat(640, 640, (255, 0, 0)))]


def test_the_letterbox_keeps_the_shape_and_pads_with_grey() -> None:
    image, scale, left, top = letterbox(flat(50, 100, (255, 0, 0)), 64, 64)
    assert (image.shape, scale, left, top) == ((1, 3, 64, 64), 0.64, 0, 16)
    assert image[0, :, 32, 32].tolist() == [1, 0, 0]
    assert image[0, :, 2, 2] == pytest.approx(114 / 255)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent\.onnx: no such file"):
        load_detector(tmp_path / "absent.onnx")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a PyTorch checkpoint", b"\x08\x08" * 50])
def test_a_file_that_is_not_onnx_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"best\.pt: not a usable ONNX model"):
        load_detector(path)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"transposed": True}, "layout of YOLOv5"),
        ({"outputs": 2}, "one output .* was expected"),
        ({"task": "segment"}, "made for the task 'segment'"),
        ({"names": "{0: 'cup', 1: 'cat'}"}, "names 2 classes but gives scores for 3"),
        ({"gain": 40.0}, "not probabilities"),
    ],
)
def test_a_foreign_layout_is_refused_when_the_file_is_loaded(
    yolo: Path, wrong: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ModelError, match=rf"yolo\.onnx.*{complaint}"):
        load_detector(yolo_file(yolo, **wrong))  # type: ignore[arg-type]


def test_a_model_for_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"u2netp\.onnx: gives .* was expected"):
        load_detector(ASSETS / "models" / "u2netp.onnx")


def test_only_the_best_of_several_boxes_around_one_thing_is_kept() -> None:
    corners = np.array([(0, 0, 10, 10), (1, 0, 11, 10), (1, 0, 11, 10), (50, 50, 60, 60)], np.float32)
    scores = np.array([(0.6, 0), (0.9, 0), (0, 0.5), (0.7, 0)], np.float32)
    seen = to_detected(corners, scores, ("cup", "cat").__getitem__, width=99, height=99, threshold=0.4)
    assert [(thing.label, round(thing.score, 1)) for thing in seen] == [("cup", 0.9), ("cup", 0.7), ("cat", 0.5)]


def test_rows_that_are_not_numbers_or_have_no_area_are_left_out() -> None:
    corners = np.array([(np.nan, 0, 10, 10), (-9, 0, -2, 10), (5, 5, 5, 5)], np.float32)
    scores = np.ones((3, 1), np.float32)
    assert to_detected(corners, scores, str, width=99, height=99, threshold=0.4) == []


def test_a_box_inside_another_shares_all_of_the_smaller_one() -> None:
    outer, inner, apart = Box(0, 0, 10, 10), Box(2, 2, 4, 4), Box(20, 0, 30, 10)
    assert (share_of_smaller(outer, inner), round(iou(outer, inner), 2), iou(outer, apart)) == (1.0, 0.04, 0.0)
    assert (iou(Box(1, 1, 1, 1), Box(1, 1, 1, 1)), share_of_smaller(outer, Box(3, 3, 3, 3))) == (0.0, 0.0)
