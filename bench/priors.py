"""Trains the priors that come with jleak, measures them, and writes what was measured on their cards.

    python bench/priors.py train digits        # jleak train-prior ... --out FOLDER/digits.safetensors
    python bench/priors.py measure digits      # bench/results/prior-digits-cpu.json, and the card

Each is the one command that `command` makes; `--folder` says where the files lie (default: the package, where
`train` refuses to replace one), `--data` where the images are, which is where it runs. faces32 is for
benchmarks alone: nothing states a right to pass its images on, so neither they nor what learnt them come with
jleak.
"""

import argparse
import contextlib
import subprocess
import sys
from pathlib import Path

import prior_quality
from common import save

from jleak import data, priors

GREY = "dcgan:latent=64,width=32,kernel=4"
FAST = "non_saturating:gamma=1,b1=0.5,lr=4e-4"

PRIORS = {
    "digits": {
        "dataset": "digits", "generator": "dcgan:latent=32,width=32", "objective": "wgan_gp:lr=5e-4",
        "steps": 2000, "licence": "CC BY 4.0",
        "note": "Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak, UCI 1998, as in "
        "scikit-learn",
    },
    "mnist": {
        "dataset": "npz:mnist_train.npz", "part": "all", "generator": GREY,
        "objective": f"{FAST},augment=none", "steps": 4000, "licence": "CC BY-SA 3.0, as usually quoted",
        "note": "MNIST training set, Y. LeCun, C. Cortes and C. Burges, 1998; victims come from its test set",
    },
    "fashion_mnist": {
        "dataset": "npz:fashion_mnist_test.npz", "generator": GREY,
        "objective": f"{FAST},augment=translation-cutout", "steps": 4000, "licence": "MIT",
        "note": "Fashion-MNIST test set, H. Xiao, K. Rasul and R. Vollgraf, 2017, (c) 2017 Zalando SE",
    },
    "faces32": {
        "dataset": "npz:lfw_faces32.npz", "generator": "dcgan", "objective": "vae:beta=0.05", "steps": 1500,
        "batch": 32, "licence": "none stated; research on methods only, do not pass on",
        "note": "LFWcrop, C. Sanderson and B. Lovell, 2009; LFW, Huang et al., 2007",
    },
}  # fmt: skip
"""Name -> flags of `jleak train-prior`; all but the faces draw classes on demand."""

UNSEEN = {"mnist": "npz:mnist_test.npz"}
"""Images that a prior has not seen, where they are no half of its own data set."""


def command(name: str, folder: Path) -> list[str]:
    """The command that makes a prior, where the images are."""
    flags = {"critic": "conv:width=32", **PRIORS[name], "out": folder / f"{name}.safetensors"}
    words = [word for flag, value in flags.items() for word in (f"--{flag}", str(value))]
    return ["jleak", "train-prior", *words, "--float16", *([] if name == "faces32" else ["--conditional"])]


def measure(name: str, images: Path, folder: Path) -> None:
    """Measures a prior, and adds the numbers to its card and to bench/results."""
    path = folder / f"{name}.safetensors"
    prior = priors.load(path)
    unseen = UNSEEN.get(name, f"private:{PRIORS[name]['dataset']}")
    with contextlib.chdir(images):
        sets = data.load(prior.card["dataset"]), data.load(unseen)
    numbers = prior_quality.measured(prior, *sets)
    card = prior.card | {key: str(value) for key, value in numbers.items()}
    card |= {"measured_on": unseen, "measured_by": "bench/prior_quality.py"}
    priors.save(path, prior._replace(card=card), half=True)
    save(f"prior-{name}", {"prior": priors.fingerprint(path).rpartition("/")[2], "unseen": unseen} | numbers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["train", "measure", "show"])
    parser.add_argument("names", nargs="+", choices=PRIORS)
    parser.add_argument("--data", type=Path, default=Path("/work/shared/data"))
    parser.add_argument("--folder", type=Path, default=Path(priors.__file__).parent / "bundled")
    given = parser.parse_args()
    folder = given.folder.absolute()
    for name in given.names:
        line = command(name, folder)
        print(" ".join(line), flush=True)
        if given.what == "train":
            subprocess.run([sys.executable, "-m", *line], check=True, cwd=given.data)
        if given.what == "measure":
            measure(name, given.data, folder)
