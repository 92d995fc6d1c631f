cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
  iana: https://www.iana.org/assignments/media-types/
s:softwareVersion: 1.1.0
s:keywords: [water, mask, tiles]
s:license: https://www.apache.org/licenses/LICENSE-2.0

$graph:
  - class: Workflow
    id: water-mask
    label: Water mask by tiles
    doc:
      - Cuts a grid of water index values into tiles, classifies all tiles side by side,
      - and puts the tiles together to one mask with the area of the water.
    requirements:
      ScatterFeatureRequirement: {}
    inputs:
      index:
        label: Water index
        doc: Rows of water index values, as CSV; an empty cell is unknown.
        type: File
        format: iana:text/csv
      threshold:
        label: Threshold
        doc: A cell is water when its index is above.
        type: double
        default: 0
      tile_size:
        label: Tile size
        doc: Rows and columns of a tile.
        type: int
        default: 8
      cell_area:
        label: Area of a cell
        doc: In square meters.
        type: double?
    outputs:
      mask:
        label: Mask
        doc: The grid as CSV, 1 for water, 0 for land, empty for unknown.
        type: File
        format: iana:text/csv
        outputSource: merge/mask
      summary:
        label: Summary
        doc: Cells of each kind, tiles, and the area of the water when the area of a cell is known.
        type: File
        format: iana:application/json
        outputSource: merge/summary
    steps:
      split:
        run: "#split"
        in: {index: index, tile_size: tile_size}
        out: [tiles]
      classify:
        run: "#classify"
        scatter: tile
        in: {tile: split/tiles, threshold: threshold}
        out: [mask]
      merge:
        run: "#merge"
        in: {masks: classify/mask, cell_area: cell_area}
        out: [mask, summary]

  - class: CommandLineTool
    id: split
    label: Cuts the grid into tiles
    requirements:
      InitialWorkDirRequirement:
        listing:
          - entryname: split.py
            entry: |
              import csv
              import json
              import sys

              with open(sys.argv[1], newline="") as file:
                  grid = [row for row in csv.reader(file) if row]
              size = int(sys.argv[2])
              if size < 1:
                  sys.exit("A tile has at least one row and one column.")
              for top in range(0, len(grid), size):
                  for left in range(0, len(grid[0]), size):
                      cells = [row[left : left + size] for row in grid[top : top + size]]
                      with open(f"tile_{top:05}_{left:05}.json", "w") as file:
                          json.dump({"top": top, "left": left, "cells": cells}, file)
    baseCommand: [python3, split.py]
    inputs:
      index:
        type: File
        inputBinding: {position: 1}
      tile_size:
        type: int
        inputBinding: {position: 2}
    outputs:
      tiles:
        type: File[]
        outputBinding: {glob: "tile_*.json"}

  - class: CommandLineTool
    id: classify
    label: Classifies one tile
    requirements:
      InitialWorkDirRequirement:
        listing:
          - entryname: classify.py
            entry: |
              import json
              import os
              import sys

              with open(sys.argv[1]) as file:
                  tile = json.load(file)
              threshold = float(sys.argv[2])
              tile["cells"] = [
                  [int(float(cell) > threshold) if cell.strip() else None for cell in row] for row in tile["cells"]
              ]
              water = sum(cell == 1 for row in tile["cells"] for cell in row)
              print(f"tile at row {tile['top']}, column {tile['left']}: {water} cells of water")
              with open("mask_" + os.path.basename(sys.argv[1]), "w") as file:
                  json.dump(tile, file)
    baseCommand: [python3, classify.py]
    inputs:
      tile:
        type: File
        inputBinding: {position: 1}
      threshold:
        type: double
        inputBinding: {position: 2}
    outputs:
      mask:
        type: File
        outputBinding: {glob: "mask_*.json"}

  - class: CommandLineTool
    id: merge
    label: Puts the tiles together
    requirements:
      InitialWorkDirRequirement:
        listing:
          - entryname: merge.py
            entry: |
              import argparse
              import csv
              import json

              arguments = argparse.ArgumentParser()
              arguments.add_argument("--cell-area", type=float)
              arguments.add_argument("masks", nargs="+")
              wanted = arguments.parse_args()

              rows = {}
              for path in wanted.masks:
                  with open(path) as file:
                      tile = json.load(file)
                  for down, cells in enumerate(tile["cells"]):
                      for right, cell in enumerate(cells):
                          rows.setdefault(tile["top"] + down, {})[tile["left"] + right] = cell
              mask = [[cells[column] for column in sorted(cells)] for _, cells in sorted(rows.items())]
              with open("mask.csv", "w", newline="") as file:
                  csv.writer(file).writerows(mask)
              cells = [cell for row in mask for cell in row]
              summary = {
                  "tiles": len(wanted.masks),
                  "water": cells.count(1),
                  "land": cells.count(0),
                  "unknown": cells.count(None),
              }
              if wanted.cell_area is not None:
                  summary["water_area"] = summary["water"] * wanted.cell_area
              with open("summary.json", "w") as file:
                  json.dump(summary, file, indent=2)
    baseCommand: [python3, merge.py]
    inputs:
      cell_area:
        type: double?
        inputBinding: {position: 1, prefix: --cell-area}
      masks:
        type: File[]
        inputBinding: {position: 2}
    outputs:
      mask:
        type: File
        format: iana:text/csv
        outputBinding: {glob: mask.csv}
      summary:
        type: File
        format: iana:application/json
        outputBinding: {glob: summary.json}
