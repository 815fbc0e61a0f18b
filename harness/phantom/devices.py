"""Lines, tubes and implants as clouds in the patient's frame."""

from harness.phantom.plan import StudyPlan
from harness.phantom.project import Scene
from harness.phantom.solids import Camera, Plane

import numpy as np


def devices_path(plan: StudyPlan, scene: Scene, camera: Camera) -> Plane:
    """Path length through all devices of the plan, mm of water."""
    return np.float32(0)
