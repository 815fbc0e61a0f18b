"""How one film was taken: camera, posture and exposure, from the study's seed and nothing else."""

from dataclasses import dataclass

import numpy as np

from harness.phantom.anatomy import Build, Posture
from harness.phantom.plan import StudyPlan, View
from harness.phantom.solids import Camera
from harness.phantom.streams import between, stream


@dataclass(frozen=True)
class Exposure:
    """What the detector and the processing do; ranges differ by rendering."""

    attenuation: float  # per mm of water
    scatter: float  # scattered over primary signal, at the mean
    spread: float  # mm, how far scatter travels
    dose: float  # quanta per pixel of 1 mm^2 behind an unattenuated beam, in thousands
    grain: float  # correlation length of the noise, mm; 0 is white
    blur: float  # mm, focal spot and detector
    texture: float  # strength of unresolved lung texture
    coarse: float  # its exponent: larger is coarser
    flatten: float  # share of the large-scale signal the processing takes away
    sharpen: float  # gain of fine detail in the processing
    toe: float  # bend of the response curve

    @property
    def texture_gain(self) -> float:
        """Texture in the log signal per square root of mm of aerated lung."""
        return self.attenuation * self.texture


# PadChest is a different room: scatter, noise spectrum, texture, detector response and processing
# all lie outside the ranges the MIMIC rendering draws from.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "mimic": {
        "attenuation": (0.0150, 0.0175),
        "scatter": (0.18, 0.42),
        "spread": (38.0, 52.0),
        "dose": (18.0, 45.0),
        "grain": (0.0, 0.25),
        "blur": (0.35, 0.65),
        "texture": (0.08, 0.12),
        "coarse": (0.9, 1.2),
        "flatten": (0.30, 0.52),
        "sharpen": (0.3, 0.7),
        "toe": (0.0, 0.25),
    },
    "padchest": {
        "attenuation": (0.0165, 0.0200),
        "scatter": (0.52, 0.75),
        "spread": (58.0, 75.0),
        "dose": (8.5, 14.0),
        "grain": (0.9, 1.6),
        "blur": (0.75, 1.05),
        "texture": (0.13, 0.17),
        "coarse": (1.35, 1.6),
        "flatten": (0.18, 0.28),
        "sharpen": (0.10, 0.25),
        "toe": (0.45, 0.9),
    },
}


def exposure_of(plan: StudyPlan, view: View) -> Exposure:
    """The exposure of one film, by the study's seed and rendering."""
    rng = stream(plan.seed, "exposure", view)
    drawn = {k: between(rng, *bounds) for k, bounds in RANGES[plan.rendering].items()}
    if view == "AP":
        drawn["scatter"] *= 1.2
        drawn["dose"] *= 0.8
    return Exposure(**drawn)


def posture_of(plan: StudyPlan, view: View) -> Posture:
    """Breath and limbs of one film: portable films are taken sitting or lying, less breathed in."""
    rng = stream(plan.seed, "posture", view)
    if view == "AP":
        return Posture(
            between(rng, -26, -4), between(rng, 0, 24), between(rng, 0.5, 1), between(rng, 4, 16)
        )
    return Posture(
        breath=between(rng, -10, 10),
        arms=between(rng, 30, 70),
        scapula=between(rng, 0, 0.35),
        clavicle=between(rng, -5, 5),
        raised=view == "LATERAL",
    )


def gas_of(plan: StudyPlan) -> float:
    """Fill of the stomach bubble, 0..1."""
    return max(0.0, between(stream(plan.seed, "gas"), -0.6, 1.0))


def camera_of(plan: StudyPlan, view: View, build: Build, size: int) -> Camera:
    """Place of source and detector for one film; the field is collimated to the body."""
    rng = stream(plan.seed, "camera", view)
    turn = float(np.clip(rng.normal(0, 0.07 if view == "AP" else 0.045), -0.17, 0.17))
    margin = between(rng, 4, 84)
    shift = (between(rng, -13, 13), between(rng, -11, 12))
    habitus = 1.04 if plan.rendering == "padchest" else 1.0
    height = 2 * (150 * build.tall + 0.30 * margin)
    across = 2 * (build.width + 13 + 0.3 * build.fat + 0.35 * margin)
    if view == "LATERAL":
        return Camera(
            size, 1.14 * height, np.pi / 2 + turn, 1, 1800.0, 190.0, shift[0], -8 + shift[1]
        )
    field = max(height, across) * (1.09 if view == "PA" else 1.13) * habitus
    if view == "AP":
        return Camera(size, field, turn, -1, 1150.0, 150.0, shift[0], -2 + shift[1])
    return Camera(size, field, turn, 1, 1800.0, 150.0, shift[0], -6 + shift[1])
