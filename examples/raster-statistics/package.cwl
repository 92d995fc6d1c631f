cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
  iana: https://www.iana.org/assignments/media-types/
s:softwareVersion: 1.0.0
s:keywords: [raster, statistics, preview]
s:license: https://www.apache.org/licenses/LICENSE-2.0

$graph:
  - class: Workflow
    id: raster-statistics
    label: Statistics of a raster
    doc: Reads a 16-bit GeoTIFF, tells minimum, maximum, mean and deviation of its valid pixels, and draws a preview.
    inputs:
      raster:
        label: Raster
        doc: An uncompressed GeoTIFF with one band of unsigned 16-bit values.
        type: File
        format: iana:image/tiff
      stretch_percent:
        label: Stretch
        doc: How much of the darkest and of the brightest pixels the preview cuts off, in percent.
        type: double
        default: 2.0
    outputs:
      statistics:
        label: Statistics
        doc: Minimum, maximum, mean, standard deviation, number of valid pixels, nodata value and extent.
        type: File
        format: iana:application/json
        outputSource: measure/statistics
      preview:
        label: Preview
        doc: The raster in gray, stretched; nodata is black.
        type: File
        format: iana:image/png
        outputSource: measure/preview
    steps:
      measure:
        run: "#measure"
        in:
          raster: raster
          stretch_percent: stretch_percent
        out: [statistics, preview]

  - class: CommandLineTool
    id: measure
    label: Measures a raster with plain Python
    requirements:
      ResourceRequirement:
        coresMax: 1
        ramMax: 256
      InitialWorkDirRequirement:
        listing:
          - entryname: measure.py
            entry: |
              """Reads a small GeoTIFF with nothing but Python's standard library."""

              import json
              import math
              import struct
              import sys
              import zlib

              FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 11: "f", 12: "d"}
              WIDTH, HEIGHT, BITS, COMPRESSION, OFFSETS, COUNTS = 256, 257, 258, 259, 273, 279
              SCALE, TIEPOINT, NODATA = 33550, 33922, 42113


              def read_tags(data):
                  order = {b"II": "<", b"MM": ">"}[data[:2]]
                  (start,) = struct.unpack_from(order + "I", data, 4)
                  (entries,) = struct.unpack_from(order + "H", data, start)
                  tags = {}
                  for entry in range(start + 2, start + 2 + 12 * entries, 12):
                      tag, kind, count = struct.unpack_from(order + "HHI", data, entry)
                      code = FORMATS.get(kind, "B")
                      layout = f"{order}{count}{code}"
                      at = entry + 8
                      if struct.calcsize(layout) > 4:
                          (at,) = struct.unpack_from(order + "I", data, at)
                      tags[tag] = struct.unpack_from(layout, data, at)
                  return order, tags


              def read_raster(path):
                  with open(path, "rb") as file:
                      data = file.read()
                  order, tags = read_tags(data)
                  if tags[BITS] != (16,) or tags.get(COMPRESSION, (1,)) != (1,):
                      sys.exit("Only uncompressed rasters with one band of 16 bits are read.")
                  pixels = []
                  for offset, size in zip(tags[OFFSETS], tags[COUNTS]):
                      pixels += struct.unpack_from(f"{order}{size // 2}H", data, offset)
                  return tags, tags[WIDTH][0], tags[HEIGHT][0], pixels


              def write_png(path, width, height, gray):
                  def chunk(kind, content):
                      checksum = zlib.crc32(kind + content)
                      return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

                  rows = b"".join(b"\x00" + gray[row * width : (row + 1) * width] for row in range(height))
                  with open(path, "wb") as file:
                      file.write(b"\x89PNG\r\n\x1a\n")
                      file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
                      file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


              def main(path, stretch):
                  tags, width, height, pixels = read_raster(path)
                  nodata = int(tags[NODATA][0].split(b"\x00")[0]) if NODATA in tags else None
                  valid = sorted(pixel for pixel in pixels if pixel != nodata)
                  if not valid:
                      sys.exit("The raster has no valid pixel.")
                  print(f"{width} x {height} pixels, {len(valid)} of them valid", file=sys.stderr)
                  mean = math.fsum(valid) / len(valid)
                  deviation = math.sqrt(math.fsum((pixel - mean) ** 2 for pixel in valid) / len(valid))
                  statistics = {
                      "width": width,
                      "height": height,
                      "count": len(valid),
                      "nodata": nodata,
                      "min": valid[0],
                      "max": valid[-1],
                      "mean": round(mean, 3),
                      "deviation": round(deviation, 3),
                  }
                  if SCALE in tags and TIEPOINT in tags:
                      west, north = tags[TIEPOINT][3:5]
                      east, south = west + width * tags[SCALE][0], north - height * tags[SCALE][1]
                      statistics["bbox"] = [round(edge, 6) for edge in (west, south, east, north)]
                  with open("statistics.json", "w") as file:
                      json.dump(statistics, file, indent=2)
                  cut = int(len(valid) * min(max(stretch, 0), 49) / 100)
                  dark, bright = valid[cut], valid[-1 - cut]
                  gray = bytes(
                      0 if pixel == nodata else min(max(255 * (pixel - dark) // max(bright - dark, 1), 0), 255)
                      for pixel in pixels
                  )
                  write_png("preview.png", width, height, gray)


              main(sys.argv[1], float(sys.argv[2]))
    baseCommand: [python3, measure.py]
    inputs:
      raster:
        type: File
        inputBinding: {position: 1}
      stretch_percent:
        type: double
        inputBinding: {position: 2}
    outputs:
      statistics:
        type: File
        format: iana:application/json
        outputBinding: {glob: statistics.json}
      preview:
        type: File
        format: iana:image/png
        outputBinding: {glob: preview.png}
