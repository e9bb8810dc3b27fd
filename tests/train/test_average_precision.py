"""Average precision: by hand, against COCO's own code, and what perfect and useless detections are worth."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest

from mabn_ref.train.average_precision import average_precision, ious

FIVE = np.array(
    [
        [[0, 10, 10, 20, 20], [0, 30, 30, 40, 40], [1, 5, 5, 15, 15]],
        [[0, 0, 0, 10, 10], [1, 20, 20, 40, 40], [-1, 0, 0, 0, 0]],
    ]
)
"""Five boxes in two images; the page docs/derivations/average_precision.rst goes through them by hand."""
FOUND = np.array(
    [
        [[0, 0.9, 10, 10, 20, 20], [0, 0.8, 10, 10, 20, 19], [0, 0.6, 30, 30, 40, 36], [1, 0.5, 5, 5, 15, 15]],
        [[1, 0.9, 20, 20, 40, 36], [0, 0.7, 0, 0, 10, 8], [0, 0.2, 30, 30, 40, 40], [-1, 0.1, 0, 0, 1, 1]],
    ]
)


def test_five_boxes_by_hand() -> None:
    """The numbers of the page.

    Discs, from the highest score: right; a second one on the same box, wrong; overlap 0.8, right up to 0.8; overlap
    0.6, right up to 0.6; nothing there, wrong. Of three true ones. Squares: overlap 0.8, and exact, of two.
    """
    # precision at recalls up to 1/3, 2/3 and 1; of 101 recalls 34, 33 and 34 lie there
    three, two, one = (np.dot((34, 33, 34), p) / 101 for p in ((1, 3 / 4, 3 / 4), (1, 2 / 3, 0), (1, 0, 0)))
    # squares: both right up to 0.8; above, the second of the list alone, of two: 51 recalls
    both, second = 1.0, 51 / 101 / 2
    discs, squares = [three] * 3 + [two] * 4 + [one] * 3, [both] * 7 + [second] * 3
    by_hand = [(a + b) / 2 for a, b in zip(discs, squares, strict=True)]
    found = average_precision(FOUND, FIVE, 2)
    assert found == {
        "ap": pytest.approx(100 * np.mean(by_hand)),
        "ap50": pytest.approx(100 * by_hand[0]),
        "ap75": pytest.approx(100 * by_hand[5]),
    }


def test_a_detection_of_another_class_takes_no_box() -> None:
    """And one that overlaps two boxes takes the nearer, which leaves the other to the next."""
    truth = np.array([[[0, 0, 0, 10, 10], [0, 2, 0, 12, 10], [1, 30, 30, 40, 40]]])
    found = np.array([[[1, 0.9, 0, 0, 10, 10], [0, 0.8, 2, 0, 12, 10], [0, 0.7, -2, 0, 8, 10]]])
    both, none = average_precision(found, truth[:, :2], 1), average_precision(found[:, :1], truth, 2)
    assert both["ap50"] == 100
    assert none == {"ap": 0, "ap50": 0, "ap75": 0}
    assert average_precision(found, truth, 2)["ap50"] == 50


def test_iou_of_boxes_by_counting_pixels() -> None:
    rng = np.random.default_rng(0)
    low = rng.integers(0, 10, (2, 6, 2))
    boxes = np.concatenate([low, low + rng.integers(1, 8, (2, 6, 2))], axis=-1)
    masks = np.zeros((2, 6, 20, 20), dtype=bool)
    for place in np.ndindex(2, 6):
        left, top, right, bottom = boxes[place]
        masks[place][top:bottom, left:right] = True
    for i, j in np.ndindex(6, 6):
        a, b = masks[0, i], masks[1, j]
        assert ious(boxes[0], boxes[1])[i, j] == pytest.approx(np.sum(a & b) / np.sum(a | b))


def drawn(seed: int, images: int = 30) -> tuple[Any, Any]:
    """Random true boxes, and detections near them, doubled, misnamed and made up."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 30, (images, 4, 2))
    truth = np.concatenate(
        [rng.integers(-1, 3, (images, 4, 1)), low, low + rng.uniform(4, 20, (images, 4, 2))], axis=2
    )
    near = np.repeat(truth, 3, axis=1)
    near[..., 1:] += rng.normal(0, 1.5, near[..., 1:].shape)
    kinds = np.where(rng.random(near.shape[:2]) < 0.15, rng.integers(0, 3, near.shape[:2]), near[..., 0])
    scores = -np.sort(-rng.random(near.shape[:2]), axis=1)
    return np.concatenate([kinds[..., None], scores[..., None], near[..., 1:]], axis=2), truth


@pytest.mark.frameworks
@pytest.mark.parametrize("seed", range(3))
def test_against_cocos_own_code(seed: int) -> None:
    coco = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    found, truth = drawn(seed)

    def entries(boxes: Any, scored: bool) -> list[dict[str, Any]]:
        listed = []
        for image, of_one in enumerate(boxes, start=1):
            for kind, *rest in of_one[of_one[:, 0] >= 0]:
                score, (left, top, right, bottom) = (rest[0], rest[1:]) if scored else (1.0, rest)
                box = [left, top, right - left, bottom - top]
                entry = {"image_id": image, "category_id": int(kind) + 1, "bbox": box, "area": box[2] * box[3]}
                listed.append(entry | {"id": len(listed) + 1, "iscrowd": 0, "score": score})
        return listed

    with contextlib.redirect_stdout(io.StringIO()):
        right = coco.COCO()
        right.dataset = {
            "info": {},
            "images": [{"id": i + 1} for i in range(len(truth))],
            "categories": [{"id": k + 1} for k in range(3)],
            "annotations": entries(truth, False),
        }
        right.createIndex()
        theirs = evaluation.COCOeval(right, right.loadRes(entries(found, True)), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    ours = average_precision(found, truth, 3)
    assert [ours[name] / 100 for name in ("ap", "ap50", "ap75")] == pytest.approx(list(theirs.stats[:3]), abs=1e-12)
    assert 0.1 < theirs.stats[0] < 0.9


def test_perfect_and_useless() -> None:
    _, truth = drawn(0)
    perfect = np.concatenate([truth[..., :1], np.ones((*truth.shape[:2], 1)), truth[..., 1:]], axis=2)
    assert average_precision(perfect, truth, 3) == dict.fromkeys(("ap", "ap50", "ap75"), 100)
    elsewhere = perfect + np.array([0, 0, 100, 100, 100, 100])
    assert average_precision(elsewhere, truth, 3)["ap50"] == 0
    none = np.full_like(perfect, -1)
    assert average_precision(none, truth, 3)["ap"] == 0


@pytest.mark.parametrize("kind", [-1, 2])
def test_truth_without_a_box_of_the_classes_is_refused(kind: int) -> None:
    found = np.array([[[0, 0.9, 0, 0, 4, 4]]])
    with pytest.raises(ValueError, match=r"^truth has no box of a class from 0 to 1, expected at least one$"):
        average_precision(found, np.array([[[kind, 0, 0, 4, 4]]]), 2)


def test_a_better_detection_first_is_worth_more() -> None:
    right, wrong = [0, 0.9, 0, 0, 9, 9], [0, 0.9, 30, 30, 39, 39]
    first, last = (
        average_precision(np.array([[a, [*b[:1], 0.5, *b[2:]]]], dtype=float), np.array([[[0, 0, 0, 9, 9]]]), 1)["ap"]
        for a, b in ((right, wrong), (wrong, right))
    )
    assert (first, last) == (100, 50)
