"""A film of the tests as a DICOM file, and the pixels of any film."""

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from harness.images import Image


def read(file: Path, target: int | None = None) -> np.ndarray:
    return Image("img-1", file).read(target)


def write_dicom(file: Path, stored: np.ndarray, **tags: object) -> Path:
    """A minimal CR film with `stored` (uint16 or int16) as its pixels."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    data.Modality, data.SamplesPerPixel = "CR", 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.Rows, data.Columns = stored.shape
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelRepresentation = int(stored.dtype == np.int16)
    data.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.save_as(file, enforce_file_format=True)
    return file
