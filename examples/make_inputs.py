"""Writes the inputs.json of every example. The data are made up here, so that nothing needs to be downloaded.

python examples/make_inputs.py
"""

import base64
import json
import math
import struct
from pathlib import Path

HERE = Path(__file__).parent
NODATA = 0


def terrain(width: int, height: int) -> list[int]:
    """Makes hills, a valley and a corner without data."""
    pixels = []
    for row in range(height):
        for column in range(width):
            hills = math.sin(column / 9) * math.cos(row / 7) * 300
            valley = 400 * math.exp(-(((column - row) / 8) ** 2))
            pixels.append(NODATA if row + column < 12 else int(900 + 6 * row + hills - valley))
    return pixels


def geotiff(width: int, height: int, pixels: list[int], west: float, north: float, step: float) -> bytes:
    """Makes an uncompressed GeoTIFF in WGS 84 with one band of 16 bits and one strip."""
    data = struct.pack(f"<{len(pixels)}H", *pixels)
    doubles = {33550: (step, step, 0.0), 33922: (0.0, 0.0, 0.0, west, north, 0.0)}
    keys = (1, 1, 0, 3, 1024, 0, 1, 2, 1025, 0, 1, 1, 2048, 0, 1, 4326)
    tags = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, 16),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, "data"),
        (277, 3, 1, 1),
        (278, 3, 1, height),
        (279, 4, 1, len(data)),
        (33550, 12, 3, struct.pack("<3d", *doubles[33550])),
        (33922, 12, 6, struct.pack("<6d", *doubles[33922])),
        (34735, 3, len(keys), struct.pack(f"<{len(keys)}H", *keys)),
        (42113, 2, 2, int.from_bytes(str(NODATA).encode(), "little")),
    ]
    place = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    directory = struct.pack("<H", len(tags))
    payload = sum(len(value) for *_, value in tags if isinstance(value, bytes))
    for tag, kind, count, value in tags:
        if isinstance(value, bytes):
            entry = place + len(extra)
            extra += value
        else:
            entry = place + payload if value == "data" else int(value)
        directory += struct.pack("<HHII", tag, kind, count, entry)
    return b"II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + extra + data


def water_index(width: int, height: int) -> str:
    """Makes a river through land, as CSV, with a few cells missing."""
    lines = []
    for row in range(height):
        middle = width / 2 + 6 * math.sin(row / 5)
        cells = [
            f"{1.2 - abs(column - middle) / 3:.2f}" if (row * column) % 97 != 96 else "" for column in range(width)
        ]
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Writes one execute request per example."""
    raster = geotiff(64, 48, terrain(64, 48), west=-3.6, north=55.2, step=0.0009)
    requests = {
        "raster-statistics": {
            "raster": {
                "value": base64.b64encode(raster).decode(),
                "encoding": "base64",
                "mediaType": "image/tiff; application=geotiff",
            },
            "stretch_percent": 2,
        },
        "water-mask": {
            "index": {"value": water_index(32, 24), "mediaType": "text/csv"},
            "threshold": 0.1,
            "tile_size": 8,
            "cell_area": 100,
        },
        "scene-report": {
            "scene": "S2B_MSIL2A_20260115T110319_N0511_R094_T30UXC_20260115T134512",
            "cloud_cover": 12.5,
            "style": "long",
        },
        "failing-step": {"exit_code": 3},
    }
    for name, inputs in requests.items():
        (HERE / name / "inputs.json").write_text(json.dumps({"inputs": inputs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
