"""Pictures that lie on a device: where, and in which form. Knows no device itself."""

from dataclasses import dataclass
from typing import Any

from gpu_kernels.preprocessing.crop_regions import PixelRegion


@dataclass(frozen=True)
class ColourMatrix:
    """How YCbCr becomes RGB: luma's zero and scale, and the weights of the differences."""

    zero: float
    scale: float
    red_cr: float
    green_cb: float
    green_cr: float
    blue_cb: float

    @classmethod
    def of(cls, red: float, blue: float, full_range: bool) -> "ColourMatrix":
        """Args:
        red, blue: weights in luma, Kr and Kb of ITU-R BT.601 (0.299, 0.114) or BT.709
            (0.2126, 0.0722).
        full_range: luma of 0 to 255, not 16 to 235.
        """
        green = 1 - red - blue
        luma, chroma = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
        cr, cb = 2 * (1 - red) * chroma, 2 * (1 - blue) * chroma
        zero = 0.0 if full_range else 16.0
        return cls(zero, luma, cr, -cb * blue / green, -cr * red / green, cb)


BT601 = ColourMatrix.of(0.299, 0.114, full_range=False)


@dataclass(frozen=True)
class DevicePicture:
    """A picture in a device's buffer. Height and width are of the upright picture, in pixels."""

    height: int
    width: int
    start: int  # bytes into the buffer: the picture, or its luma
    pitch: int  # bytes from row to row
    turns: int = 0  # quarter turns, counterclockwise, that make it upright
    chroma: int | None = None  # where the chroma of NV12 begins; None: BGR
    chroma_pitch: int = 0
    colour: ColourMatrix = BT601

    @property
    def whole(self) -> PixelRegion:
        return 0, 0, self.width, self.height


@dataclass(frozen=True)
class DeviceFrame:
    """A picture with the buffer that it lies in; stands where a picture of the host could."""

    buffer: Any  # Warp array of bytes
    picture: DevicePicture

    @property
    def shape(self) -> tuple[int, int, int]:
        """As of the picture on the host: height, width, 3."""
        return self.picture.height, self.picture.width, 3
