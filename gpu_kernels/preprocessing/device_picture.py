"""Pictures in a buffer of a device: position, format and colours. Independent of the device."""

from dataclasses import dataclass
from typing import Any

from gpu_kernels.preprocessing.crop_regions import PixelRegion


@dataclass(frozen=True)
class ColourMatrix:
    """The conversion of YCbCr to RGB: luma's zero and scale, and the weights of Cb and Cr."""

    zero: float
    scale: float
    red_cr: float
    green_cb: float
    green_cr: float
    blue_cb: float

    @classmethod
    def from_weights(cls, red: float, blue: float, full_range: bool) -> "ColourMatrix":
        """Compute the matrix of a standard.

        Args:
            red, blue: weights in luma, Kr and Kb of ITU-R BT.601 (0.299, 0.114) or BT.709
                (0.2126, 0.0722).
            full_range: True for luma of 0 to 255, False for 16 to 235.
        """
        green = 1 - red - blue
        luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
        cr, cb = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        zero = 0.0 if full_range else 16.0
        return cls(zero, luma, cr, -cb * blue / green, -cr * red / green, cb)


BT601 = ColourMatrix.from_weights(0.299, 0.114, full_range=False)


@dataclass(frozen=True)
class DevicePicture:
    """A picture in a device's buffer. Height and width are of the upright picture, in pixels."""

    height: int
    width: int
    start: int  # offset of the picture, or of its luma, in bytes
    pitch: int  # bytes per row
    turns: int = 0  # counterclockwise quarter turns that make it upright
    chroma: int | None = None  # offset of the chroma of NV12; None: BGR
    chroma_pitch: int = 0
    colour: ColourMatrix = BT601

    @property
    def whole(self) -> PixelRegion:
        """The region that is all of the picture."""
        return 0, 0, self.width, self.height


@dataclass(frozen=True)
class DeviceFrame:
    """A picture with its buffer; the device's counterpart of a picture array on the host."""

    buffer: Any  # Warp array of bytes
    picture: DevicePicture

    @property
    def shape(self) -> tuple[int, int, int]:
        """As of the picture on the host: height, width, 3."""
        return self.picture.height, self.picture.width, 3
