"""From path lengths to pixels: Beer-Lambert, scatter, quanta, blur, processing."""

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter

from harness.phantom.plan import Rendering
from harness.phantom.solids import Camera, Plane
from harness.phantom.technique import Exposure


@dataclass(frozen=True)
class Signal:
    """A film before noise: scattered veil and negative log of what arrives (bright = dense)."""

    veil: Plane
    log: Plane
    sigma: Plane  # standard deviation of the two random fields (quanta, lung texture) in `log`


def smooth(plane: Plane, sigma: float) -> Plane:
    """A Gaussian blur; wide ones are done on a coarser grid."""
    step = int(sigma // 3)
    if step < 2:
        return np.asarray(gaussian_filter(plane, sigma, truncate=3.0, mode="nearest"))
    rows, columns = plane.shape
    tall, wide = -(-rows // step), -(-columns // step)
    padded = np.pad(plane, ((0, tall * step - rows), (0, wide * step - columns)), mode="edge")
    small = padded.reshape(tall, step, wide, step).mean(axis=(1, 3))
    small = gaussian_filter(small, sigma / step, truncate=3.0, mode="nearest")
    return _enlarge(small, step)[:rows, :columns]


def _enlarge(small: Plane, step: int) -> Plane:
    """Bilinear enlargement by a whole factor, aligned to the blocks' centers."""
    for axis in (0, 1):
        n = small.shape[axis]
        at = np.clip((np.arange(n * step) + 0.5) / step - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        part = (at - low).astype(np.float32)
        part = part[:, None] if axis == 0 else part[None, :]
        high = np.minimum(low + 1, n - 1)
        small = np.take(small, low, axis) * (1 - part) + np.take(small, high, axis) * part
    return small


SATURATION = np.float32(0.62)  # the direct beam overflows the detector: no noise beside the body

CENTER = np.float32(0.34)  # of the S curve, on the 0 to 1 range of the processed signal


def through(path: Plane, exposure: Exposure) -> Plane:
    """Transmitted share of the beam behind so many mm of water (Beer-Lambert)."""
    return np.exp(np.float32(-exposure.attenuation) * path)


def lung_texture(rng: np.random.Generator, camera: Camera, exposure: Exposure) -> Plane:
    """A zero-mean, unit-variance power-law field: the lung structure that is not resolved."""
    size = camera.size
    white = rng.standard_normal((size, size), np.float32)
    fy = np.fft.fftfreq(size, camera.pitch).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(size, camera.pitch).astype(np.float32)[None]
    f = np.sqrt(fy**2 + fx**2 + np.float32((1 / 45) ** 2))
    field = irfft2(rfft2(white) * f ** np.float32(-exposure.coarse), s=(size, size))
    return np.asarray(field / field.std())


def expose(path: Plane, air: Plane, camera: Camera, exposure: Exposure) -> Signal:
    """The noise-free signal of a film, and how large its noise is at each pixel."""
    primary = through(path, exposure)
    veil = np.float32(exposure.scatter) * smooth(primary, exposure.spread / camera.pitch)
    arriving = primary + veil + np.float32(1e-3)
    quanta = np.float32(exposure.dose * 1000 * camera.pitch**2) * arriving
    texture = np.float32(exposure.texture_gain) * np.sqrt(air) * (primary / arriving)
    return Signal(veil, -np.log(arriving), np.sqrt(1 / quanta + np.square(texture)))


def without(path: Plane, signal: Signal, exposure: Exposure) -> Plane:
    """The log signal of another path under the same veil.

    The veil has no edges and nobody outlines it, so it is held fixed when two films are compared.
    """
    return np.asarray(-np.log(through(path, exposure) + signal.veil + np.float32(1e-3)))


def add_noise(
    path: Plane, texture: Plane, rng: np.random.Generator, *, camera: Camera, exposure: Exposure
) -> Plane:
    """The log signal with lung texture (already scaled to mm), blur and quantum noise."""
    primary = through(path + texture, exposure)
    veil = np.float32(exposure.scatter) * smooth(primary, exposure.spread / camera.pitch)
    arriving = primary + veil + np.float32(1e-3)
    arriving = gaussian_filter(arriving, exposure.blur / camera.pitch, truncate=3.0)
    white = rng.standard_normal(path.shape, np.float32)
    if exposure.grain > 0.3:
        white = gaussian_filter(white, exposure.grain / camera.pitch, truncate=3.0)
        white /= white.std() / np.float32(0.8)
    quanta = np.float32(exposure.dose * 1000 * camera.pitch**2)
    counted = arriving + white * np.sqrt(arriving / quanta)
    return np.asarray(-np.log(np.clip(counted, np.float32(1e-3), SATURATION)))


def process(log: Plane, camera: Camera, exposure: Exposure) -> Plane:
    """What the console does: less of the large scale, more of the fine detail; range 0 to 1."""
    plane = log - np.float32(exposure.flatten) * smooth(log, 32 / camera.pitch)
    if exposure.sharpen > 0:
        fine = plane - gaussian_filter(plane, 2.6 / camera.pitch, truncate=3.0)
        plane = plane + np.float32(exposure.sharpen) * fine
    sample = plane[::2, ::2].ravel()
    high = np.partition(sample, -(sample.size // 500) - 1)[-(sample.size // 500) - 1]
    low = sample.min()
    return np.asarray(np.clip((plane - low) / (high - low), 0, 1))


def equalize(pixels: np.ndarray) -> np.ndarray:
    """Histogram equalization of uint8, by the published formula that OpenCV's function uses.

    Source: MIMIC-CXR-JPG is min-max scaled to 8 bits, then equalized (its dataset description).
    """
    total = np.cumsum(np.bincount(pixels.ravel(), minlength=256))
    first = total[pixels.min()]
    spread = max(1, int(total[-1] - first))
    table = np.clip(np.round((total - first) * 255.0 / spread), 0, 255).astype(np.uint8)
    return np.asarray(table[pixels])


def store(plane: Plane, shutter: np.ndarray, rendering: Rendering, toe: float) -> np.ndarray:
    """Stored pixels: equalized uint8 for MIMIC, 12 bits in uint16 on an S curve for PadChest."""
    if rendering == "mimic":
        eight = np.round(plane * np.float32(255)).astype(np.uint8)
        eight[shutter] = 0
        return equalize(eight)
    steep = np.float32(2.0 + 3.0 * toe)
    ends = 1 / (1 + np.exp(steep * np.array([CENTER, CENTER - 1], np.float32)))
    curve = 1 / (1 + np.exp(-steep * (plane - CENTER)))
    twelve = np.round((curve - ends[0]) / (ends[1] - ends[0]) * np.float32(4095)).astype(np.uint16)
    twelve[shutter] = 0
    return np.asarray(twelve)
