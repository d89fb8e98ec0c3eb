"""Make the small graphs of tests/support/exported_models with the exporters of public models.

    python tools/make_model_fixtures.py --yolo CHECKOUT --rtdetr CHECKOUT

Run it in an environment of its own with `tools/model_fixtures/requirements.txt`, which also names
the two checkouts; CPU builds of PyTorch do. Writes a graph of random, seeded weights for each
public layout, the pictures, and the boxes that each exporter's own post-processing finds in them
(`oracle.npz`). Tests compare the project's decoding with these boxes; `make test` needs no PyTorch.
The manifests beside the graphs are written by hand. Set `sha256` in them to what this prints.
"""

import argparse
import hashlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDER = HERE.parent / "tests" / "support" / "exported_models"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--yolo", type=Path, required=True, help="a checkout of MIT YOLO")
    parser.add_argument("--rtdetr", type=Path, required=True, help="a checkout of RT-DETR")
    parser.add_argument("--to", type=Path, default=FOLDER)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE / "model_fixtures"))
    import classifier
    import fixture
    import mit_yolo
    import numpy as np
    import rtdetr
    import torchvision_models

    made = [
        *rtdetr.fixtures(options.rtdetr),
        *mit_yolo.fixtures(options.yolo),
        *torchvision_models.fixtures(),
        *classifier.fixtures(),
    ]
    options.to.mkdir(parents=True, exist_ok=True)
    oracle = {"pictures": fixture.pictures()}
    for each in made:
        path = each.write(options.to)
        for number, boxes in enumerate(each.boxes):
            oracle[f"{each.name}.{number}"] = boxes.numpy().astype(np.float32)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}  {path.stat().st_size}  {[len(b) for b in each.boxes]}  {digest}")
    np.savez_compressed(options.to / "oracle.npz", **oracle)


if __name__ == "__main__":
    main()
