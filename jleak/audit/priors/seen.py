"""Whether a prior has learnt from the images that it is to find."""

from collections.abc import Mapping

import jax

from jleak import weights
from jleak.check import InputError
from jleak.data import Images, halves
from jleak.tree import stream


def seen(card: Mapping[str, str], images: Images) -> bool:
    """Whether victims drawn from these images may hold what the prior of this card learnt from.

    Told by content, wherever the files lie: the images are those of the card, or their public half is. What
    two data sets share otherwise is not found. Where it is so, draw victims from `private:DATASET`.

    Args:
      card: of a prior (`jleak.priors.load`); one without a digest of its images is taken for another's.
      images: the victims' data set.

    >>> from jleak.data import load
    >>> half = load("public:digits")
    >>> card = {"images_sha256": digest(half)}
    >>> seen(card, load("digits")), seen(card, half), seen(card, load("private:digits"))
    (True, True, False)
    """
    learnt = card.get("images_sha256")
    try:
        public = halves(stream(jax.random.key(0), "halves"), images).public
    except InputError:  # no class has two images
        return learnt == digest(images)
    return learnt in (digest(images), digest(public))


def digest(images: Images) -> str:
    """SHA-256 of a data set's images and labels."""
    return weights.checksum({"labels": images.labels, "x": images.x})
