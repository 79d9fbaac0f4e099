"""The shipped detector on shipped photos, and YOLO files of every shape, good and foreign."""

from __future__ import annotations

import importlib.util
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


def known_answers(path: Path, layout: str, *, names: bool = True) -> Path:
    """An ONNX file in one version's layout that always answers the same: two cups that overlap, a cat over one of
    them, a cup that is not sure, and a box that is surely nothing.

    In pixels of a 64 by 64 input: (8, 8, 24, 24) cup 0.9, (9, 8, 25, 24) cup 0.6, (8, 8, 24, 24) cat 0.8,
    (40, 40, 56, 60) cup 0.3, (0, 0, 64, 64) cup 0.
    """
    corners = np.array([(8, 8, 24, 24), (9, 8, 25, 24), (8, 8, 24, 24), (40, 40, 56, 60), (0, 0, 64, 64)], np.float32)
    scores = np.array([(0.9, 0), (0.6, 0), (0.1, 0.8), (0.3, 0), (0, 0)], np.float32)
    centres = np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), axis=1)
    cells = 8 * 8 + 4 * 4 + 2 * 2
    if layout == "v5":
        objectness = np.array([[1.0], [0.75], [0.8], [0.5], [0.0]], np.float32)
        classes = np.divide(scores, objectness, out=np.ones_like(scores), where=objectness > 0)
        rows = np.zeros((1, 3 * cells, 7), np.float32)
        rows[0, 100:105] = np.concatenate((centres, objectness, classes), axis=1)
    elif layout == "end to end":
        rows = np.zeros((1, 300, 6), np.float32)
        best = np.stack((scores.max(axis=1), scores.argmax(axis=1)), axis=1)
        rows[0, :5] = np.concatenate((corners, best), axis=1)
    else:
        rows = np.zeros((1, cells, 6), np.float32)
        rows[0, 30:35] = np.concatenate((centres, scores), axis=1)
        if layout == "v8":
            rows = rows.transpose(0, 2, 1)
    raw = [np.zeros((1, 3, 8 // n, 8 // n, 7), np.float32) for n in (1, 2, 4)] if layout == "v5" else []
    nodes, outputs, stored = [], [], []
    for number, value in enumerate([rows, *raw]):
        stored.append(numpy_helper.from_array(np.ascontiguousarray(value), f"known{number}"))
        nodes.append(helper.make_node("Add", [f"known{number}", "nothing"], [f"output{number}"]))
        outputs.append(helper.make_tensor_value_info(f"output{number}", TensorProto.FLOAT, None))
    stored.append(numpy_helper.from_array(np.zeros(1, np.float32), "zero"))
    nodes.insert(0, helper.make_node("ReduceMax", ["images"], ["brightest"], axes=[0, 1, 2, 3], keepdims=0))
    nodes.insert(1, helper.make_node("Mul", ["brightest", "zero"], ["nothing"]))
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph(nodes, "known", [picture], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if names:
        helper.set_model_props(model, {"names": "{0: 'cup', 1: 'cat'}"})
    onnx.save(model, str(path))
    return path


LAYOUTS = ["v5", "v8", "v8 turned", "end to end"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_its_known_answer_after_suppression_within_each_class(yolo: Path, layout: str) -> None:
    seen = load_detector(known_answers(yolo, layout)).detect(flat(64, 64, (10, 20, 30)))
    assert [(thing.label, round(thing.score, 3), thing.box) for thing in seen] == [
        ("cup", 0.9, Box(8, 8, 24, 24)),
        ("cat", 0.8, Box(8, 8, 24, 24)),  # the same place, another class: both stay
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_back_from_the_letterbox(yolo: Path, layout: str) -> None:
    seen = load_detector(known_answers(yolo, layout)).detect(flat(320, 640, (10, 20, 30)))
    assert [thing.box for thing in seen] == [Box(80, 0, 240, 80)] * 2  # ten times, less 16 above; cut at the edge


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_lower_threshold_lets_less_certain_things_in(yolo: Path, layout: str) -> None:
    seen = load_detector(known_answers(yolo, layout), threshold=0.25).detect(flat(64, 64, (10, 20, 30)))
    assert Box(40, 40, 56, 60) in [thing.box for thing in seen]
    assert len(seen) == 3


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_the_classes_that_count_are_seen(yolo: Path, layout: str) -> None:
    seen = load_detector(known_answers(yolo, layout), classes=["cat"]).detect(flat(64, 64, (10, 20, 30)))
    assert [thing.label for thing in seen] == ["cat"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_told_apart_without_names(yolo: Path, layout: str) -> None:
    seen = load_detector(known_answers(yolo, layout, names=False)).detect(flat(64, 64, (10, 20, 30)))
    assert [thing.label for thing in seen] == ["class 0", "class 1"]


def test_a_class_that_the_detector_does_not_know_is_refused_and_the_known_ones_are_told(yolo: Path) -> None:
    with pytest.raises(ModelError, match="YOLO_CLASSES: the detector knows no unicorn; it knows cat, cup"):
        load_detector(known_answers(yolo, "v5"), classes=["cup", "unicorn"])
    assert load_detector(None, classes=["cup"]).labels == {"cup"}


def test_a_pt_file_says_which_package_it_needs_and_under_which_licence(tmp_path: Path) -> None:
    if importlib.util.find_spec("ultralytics"):
        pytest.skip("ultralytics is installed")
    (tmp_path / "best.pt").write_bytes(b"PK")
    with pytest.raises(ModelError, match=r"best\.pt: .*ultralytics, whose licence is AGPL-3\.0"):
        load_detector(tmp_path / "best.pt")


def test_a_pt_file_and_the_onnx_file_that_ultralytics_exports_of_it_are_both_read(tmp_path: Path) -> None:
    """One made here, of random weights: what it sees means nothing, but it must lie in the photo."""
    pytest.importorskip("ultralytics", reason="the extra ultralytics is not installed")
    from ultralytics import YOLO

    model = YOLO("yolov8n.yaml", task="detect", verbose=False)
    with (torch := pytest.importorskip("torch")).no_grad():
        torch.manual_seed(1)
        for head in model.model.model[-1].cv3:  # or it would be sure of nothing
            head[-1].bias += 9.0
    model.save(str(tmp_path / "own.pt"))
    model.export(format="onnx", imgsz=320, opset=17, simplify=False)
    [exported] = [path for path in (tmp_path, Path.cwd()) for path in path.glob("*.onnx")]
    exported = exported.rename(tmp_path / "own.onnx")
    photo = photo_of("coffee.jpg")
    for path in (tmp_path / "own.pt", exported):
        seen = load_detector(path, threshold=0.3).detect(photo)
        assert seen
        assert all(0 <= t.box.left < t.box.right <= 600 and 0 <= t.box.top < t.box.bottom <= 400 for t in seen)


def test_a_pt_file_that_is_none_is_named(tmp_path: Path) -> None:
    pytest.importorskip("ultralytics", reason="the extra ultralytics is not installed")
    (tmp_path / "best.pt").write_bytes(b"PK\x03\x04 no checkpoint")
    with pytest.raises(ModelError, match=r"best\.pt: not a usable YOLO detection model"):
        load_detector(tmp_path / "best.pt")
    with pytest.raises(ModelError, match="no such file"):
        load_detector(tmp_path / "absent.pt")


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
    path = tmp_path / "best.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"best\.onnx: not a usable ONNX model"):
        load_detector(path)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"outputs": 2}, "one output was expected"),
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
    with pytest.raises(ModelError, match=r"u2netp\.onnx: gives .* one output was expected"):
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
