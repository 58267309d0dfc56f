"""Registration of images by translation: how far one is shifted against another, and shifting it back.

Translation alone: no rotation, scale or warp. Yin, Mallya, Vahdat, Alvarez, Kautz & Molchanov, See through
Gradients, CVPR 2021, register with RANSAC-flow, a learnt dense flow, where this is used in its place.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from jleak.check import InputError, number, one_of, whole

WHITENING = 0.1
"""Frequencies weaker than this share of the strongest one count less and less, instead of as noise."""


def translation(
    x: Float[Array, "h w c"],
    reference: Float[Array, "h w c"],
    *,
    upsample: int = 50,
    most: float | None = None,
    taper: float = 0.5,
    rounds: int = 2,
) -> Float[Array, " 2"]:
    """The shift (down, right) in pixels that moves x onto the reference, by phase correlation.

    The peak of the inverse Fourier transform of R / (|R| + eps max |R|), R = sum over channels of
    F(reference) conj(F(x)) the cross-power spectrum: first on the pixels, then around that peak, by
    Fourier's sum itself, on a grid `upsample` times finer. 0 where one of them is flat. Fourier's sum takes
    images to continue periodically; where they do not, a shift moves what is seen but not the border, and the
    border answers 0: therefore the taper.

    Source: Kuglin & Hines, 1975 (phase correlation); Foroosh, Zerubia & Berthod, Extension of Phase
    Correlation to Subpixel Registration, IEEE TIP 2002; Guizar-Sicairos, Thurman & Fienup, Efficient Subpixel
    Image Registration Algorithms, Optics Letters 2008 (the refinement). eps = 0.1 is ours: the phase of
    frequencies that a smooth image does not have is noise.

    Args:
      x, reference: images of one shape.
      upsample: grid points per pixel of the refinement, so also the resolution of the answer.
      most: the largest shift, in pixels and each direction, that is considered; None for half the image.
      taper: share of each side over which the images fade to their mean (Tukey's window), static; 0 for
        images that are periodic.
      rounds: how often it is repeated on x moved by what was found, so that the window holds the same content
        in both.

    Raises:
      InputError: they are not two images of one shape; upsample or rounds < 1; most < 0; taper
        outside [0, 1].

    >>> x = jnp.zeros((8, 8, 1)).at[2:5, 1:4].set(1.0)
    >>> translation(x, jnp.roll(x, (1, 2), (0, 1)), taper=0.0).tolist()
    [1.0, 2.0]
    """
    _check_pair(x, reference)
    whole("upsample", upsample)
    whole("rounds", rounds)
    number("taper", taper, least=0, most=1)
    if most is not None:
        number("most", most, least=0)
    found = jnp.zeros(2)
    mode = "linear" if taper else "fourier"
    for _ in range(rounds):
        found += _peak(_cross_power(shift(x, found, mode=mode), reference, taper), upsample, most)
    found = found if most is None else jnp.clip(found, -most, most)
    return jnp.where(_varies(x) & _varies(reference), found, 0.0)


def shift(
    x: Float[Array, "h w c"], by: Float[Array, " 2"], *, mode: str = "fourier"
) -> Float[Array, "h w c"]:
    """x moved by (down, right) pixels, fractions included; differentiable in both.

    Args:
      x: an image.
      by: (down, right).
      mode: `"fourier"`, exact for periodic band-limited images, what leaves at one border enters at the
        other, and an edge rings; `"linear"`, bilinear between neighbours, the border repeated, never out of
        the range of x.

    Raises:
      InputError: x is not (h, w, c); an unknown mode.

    >>> shift(jnp.arange(4.0).reshape(1, 4, 1), jnp.array([0.0, 0.5]), mode="linear").ravel().tolist()
    [0.0, 0.5, 1.5, 2.5]
    """
    one_of("mode", mode, ("fourier", "linear"))
    if jnp.ndim(x) != 3:
        raise InputError(f"x must be one image (h, w, c), got {jnp.shape(x)}; vmap over more")
    by, sides = jnp.asarray(by, float), x.shape[:2]
    if mode == "linear":
        rows, columns = (jnp.arange(side) - d for side, d in zip(sides, by, strict=True))
        places = jnp.meshgrid(rows, columns, indexing="ij")
        take = functools.partial(jax.scipy.ndimage.map_coordinates, order=1, mode="nearest")
        return jax.vmap(lambda channel: take(channel, places), -1, -1)(x)
    down, across = (jnp.exp(-2j * jnp.pi * jnp.fft.fftfreq(n) * d) for n, d in zip(sides, by, strict=True))
    moved = jnp.fft.fft2(x, axes=(0, 1)) * (down[:, None] * across)[..., None]
    return jnp.fft.ifft2(moved, axes=(0, 1)).real


def register(
    group: Float[Array, "g h w c"],
    reference: Float[Array, "h w c"],
    *,
    most: float | None = None,
    mode: str = "linear",
) -> Float[Array, "g h w c"]:
    """Every image of the group, moved onto the reference.

    Args:
      group: images of one thing, each of them possibly shifted.
      reference: what they are moved onto.
      most: the largest shift considered, in pixels.
      mode: how they are moved (`shift`).

    Raises:
      InputError: as `translation` and `shift`.

    >>> x = jnp.zeros((16, 16, 1)).at[6:10, 6:10].set(1.0)
    >>> group = jnp.stack([x, jnp.roll(x, 1, 0), jnp.roll(x, -1, 1)])
    >>> bool(jnp.allclose(register(group, x), x, atol=1e-5))
    True
    """
    return jax.vmap(lambda x: shift(x, translation(x, reference, most=most), mode=mode))(group)


def group_mean(group: Float[Array, "g n h w c"], *, most: float | None = None) -> Float[Array, "n h w c"]:
    """The consensus of several runs: their mean, then the mean of all, each image registered onto that mean.

    The shifts of one image are centred: the plain mean leans to some of the runs, the consensus lies between.

    Source: Yin et al., See through Gradients, CVPR 2021, E(x_G), by translation in place of
    RANSAC-flow. Moved bilinearly, so it stays within the range of the images.

    Args:
      group: the batches of g runs, the same image at the same place in each.
      most: the largest shift considered, in pixels; None for a quarter of the image's smaller side.

    Raises:
      InputError: group is not (g, n, h, w, c).

    >>> group_mean(jnp.full((3, 2, 8, 8, 1), 0.5)).shape
    (2, 8, 8, 1)
    """
    if jnp.ndim(group) != 5:
        raise InputError(f"group must be the batches of several runs (g, n, h, w, c), got {jnp.shape(group)}")
    most = min(group.shape[2:4]) // 4 if most is None else most

    def consensus(images):
        mean = images.mean(0)
        by = jax.vmap(lambda x: translation(x, mean, most=most))(images)
        return jax.vmap(functools.partial(shift, mode="linear"))(images, by - by.mean(0)).mean(0)

    return jax.vmap(consensus, 1)(group)


def _cross_power(
    x: Float[Array, "h w c"], reference: Float[Array, "h w c"], taper: float
) -> Complex[Array, "h w"]:
    """The whitened cross-power spectrum; 0 at frequency 0, which knows of no shift, and of flat images."""
    window = _tukey(x.shape[0], taper)[:, None, None] * _tukey(x.shape[1], taper)[:, None]
    spectra = [jnp.fft.fft2(window * (image - image.mean((0, 1))), axes=(0, 1)) for image in (reference, x)]
    power = jnp.sum(spectra[0] * jnp.conj(spectra[1]), -1).at[0, 0].set(0)
    size = jnp.abs(power)
    least = WHITENING * size.max()
    return power / jnp.where(least > 0, size + least, 1.0)


def _tukey(side: int, taper: float) -> Float[Array, " side"]:
    """1 in the middle, a cosine to 0 over taper / 2 of the side at each end."""
    place = (jnp.arange(side) + 0.5) / side
    depth = 2 * jnp.minimum(place, 1 - place) / jnp.maximum(taper, 1e-6)
    return (1 - jnp.cos(jnp.pi * jnp.clip(depth, 0, 1))) / 2


def _peak(spectrum: Complex[Array, "h w"], upsample: int, most: float | None) -> Float[Array, " 2"]:
    """Where the spectrum's inverse transform is highest: among the pixels, then on the finer grid there."""
    axes = [jnp.fft.fftfreq(side, 1 / side) for side in spectrum.shape]
    peaks = jnp.fft.ifft2(spectrum).real
    if most is not None:
        near = (jnp.abs(axes[0])[:, None] <= most) & (jnp.abs(axes[1]) <= most)
        peaks = jnp.where(near, peaks, -jnp.inf)
    coarse = _places(axes, peaks)
    grids = [centre + jnp.arange(-upsample, upsample + 1) / upsample for centre in coarse]
    down, across = (
        jnp.exp(2j * jnp.pi * grid[:, None] * axis / axis.size)
        for grid, axis in zip(grids, axes, strict=True)
    )
    return _places(grids, (down @ spectrum @ across.T).real)


def _places(axes: list[Float[Array, " n"]], peaks: Float[Array, "n m"]) -> Float[Array, " 2"]:
    best = jnp.unravel_index(jnp.argmax(peaks), peaks.shape)
    return jnp.stack([axis[i] for axis, i in zip(axes, best, strict=True)])


def _varies(x: Float[Array, "h w c"]) -> Bool[Array, ""]:
    """Whether there is more in the image than rounding errors."""
    return jnp.std(x, (0, 1)).max() > 1e-5 * jnp.abs(x).max()


def _check_pair(x: Array, reference: Array) -> None:
    if jnp.ndim(x) != 3 or jnp.shape(x) != jnp.shape(reference):
        raise InputError(
            f"x and reference must be two images (h, w, c) of one shape, got {jnp.shape(x)} and "
            f"{jnp.shape(reference)}; vmap over more"
        )
