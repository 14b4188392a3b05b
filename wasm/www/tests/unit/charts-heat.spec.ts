import { expect, test } from "@playwright/test";
import {
  contourLoops,
  contours,
  gridLayout,
  heatMap,
  jitter,
  massLevels,
  shade,
  shades,
  squareIn,
} from "../../src/charts";
import { THEMES, must, seeded, spyPen, xmlFault } from "./charts-tools";

/** A field that falls evenly from the middle of a grid: its contours are circles. */
function cone(side: number): Float64Array {
  const middle = side / 2;
  return Float64Array.from({ length: side * side }, (_, i) => {
    return -Math.hypot((i % side) + 0.5 - middle, Math.floor(i / side) + 0.5 - middle);
  });
}

test("contours of a cone are one closed loop near the circle", () => {
  for (const side of [8, 16, 33]) {
    for (const radius of [1.7, 2.5, side / 2 - 1.2]) {
      for (const loops of [
        contourLoops(cone(side), side, -radius),
        contours(cone(side), side, [-radius])[0]!.loops,
      ]) {
        expect(loops.length).toBe(1);
        const loop = loops[0]!;
        let turned = 0;
        for (let i = 0; i < loop.length; i += 2) {
          const j = (i + 2) % loop.length;
          const [x, y, u, v] = [loop[i]!, loop[i + 1]!, loop[j]!, loop[j + 1]!].map((c) => c - side / 2) as [
            number,
            number,
            number,
            number,
          ];
          must(Math.abs(Math.hypot(x, y) - radius) < 0.5, `(${x}, ${y}) for ${radius}`);
          // Neighbours, the last and the first included, are at most a cell's diagonal apart.
          must(Math.hypot(x - u, y - v) < 1.5, `a jump at (${x}, ${y})`);
          turned += Math.atan2(x * v - y * u, x * u + y * v);
        }
        expect(Math.abs(turned)).toBeCloseTo(2 * Math.PI, 4);
      }
    }
  }
});

test("every contour closes, stays on the grid and parts high cells from low ones", () => {
  const random = seeded(7);
  for (let round = 0; round < 200; round++) {
    const [columns, rows] = [1 + Math.floor(8 * random()), 1 + Math.floor(8 * random())];
    const values = Float64Array.from({ length: columns * rows }, () => (random() < 0.05 ? NaN : random()));
    const level = random();
    const loops = contourLoops(values, columns, level);
    for (const loop of loops) {
      must(loop.length >= 6, "a loop of less than three points");
      for (let i = 0; i < loop.length; i += 2) {
        must(
          loop[i]! >= 0 && loop[i]! <= columns && loop[i + 1]! >= 0 && loop[i + 1]! <= rows,
          "leaves the grid",
        );
      }
    }
    // The middle of a cell is inside an odd number of loops exactly if the cell is above the level.
    for (let cell = 0; cell < columns * rows; cell++) {
      const [x, y] = [(cell % columns) + 0.5, Math.floor(cell / columns) + 0.5 + 1e-6];
      let crossings = 0;
      for (const loop of loops) {
        for (let i = 0; i < loop.length; i += 2) {
          const j = (i + 2) % loop.length;
          const [ax, ay, bx, by] = [loop[i]!, loop[i + 1]!, loop[j]!, loop[j + 1]!];
          if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) crossings++;
        }
      }
      if (Math.abs(values[cell]! - level) < 1e-4) continue;
      must((crossings % 2 === 1) === values[cell]! > level, `cell ${cell} of ${values} at ${level}`);
    }
  }
});

test("no contour where there is nothing above the level", () => {
  expect(contourLoops([0, 0, 0, 0], 2, 0)).toEqual([]);
  expect(contourLoops([1, 2, 3, 4], 2, 5)).toEqual([]);
  expect(contourLoops([1, 2], 2, NaN)).toEqual([]);
  expect(contourLoops([], 3, 0)).toEqual([]);
});

test("mass levels enclose at least their share, equal cells together", () => {
  const random = seeded(8);
  for (let round = 0; round < 200; round++) {
    const values = Float64Array.from({ length: 64 }, () => Math.round(20 * random() ** 3));
    const total = values.reduce((a, b) => a + b, 0);
    const shares = [0.5, 0.8, 0.95];
    massLevels(values, shares).forEach((level, i) => {
      const above = values.filter((v) => v > level).reduce((a, b) => a + b, 0);
      must(above >= shares[i]! * total - 1e-9, `${above} of ${total}`);
    });
  }
  expect(massLevels([0, 0], [0.5])).toEqual([0]);
});

test("dots stay inside their cells, spread, and do not move", () => {
  const seen = new Set<string>();
  for (let cell = 0; cell < 400; cell++) {
    for (let n = 0; n < 20; n++) {
      const [u, v] = jitter(cell, n);
      must(u >= 0.2 && u <= 0.8 && v >= 0.2 && v <= 0.8, `(${u}, ${v})`);
      must(`${jitter(cell, n)}` === `${[u, v]}`, "moves");
      seen.add(`${u.toFixed(3)},${v.toFixed(3)}`);
    }
  }
  expect(seen.size).toBeGreaterThan(7500);
});

test("a point finds its cell and a cell its place", () => {
  const random = seeded(9);
  for (let i = 0; i < 500; i++) {
    const [columns, rows] = [1 + Math.floor(20 * random()), 1 + Math.floor(20 * random())];
    const box = {
      x: 50 * random(),
      y: 50 * random(),
      width: 20 + 300 * random(),
      height: 20 + 300 * random(),
    };
    const layout = gridLayout(box, columns, rows);
    const cell = Math.floor(columns * rows * random());
    const { x, y, width, height } = layout.cell(cell);
    must(
      layout.cellAt(x + width * (0.01 + 0.98 * random()), y + height * (0.01 + 0.98 * random())) === cell,
      `${cell}`,
    );
    must(layout.cellAt(box.x - 1, box.y + 1) === -1, "left of the grid");
    must(layout.cellAt(box.x + 1, box.y + box.height + 1) === -1, "below the grid");
  }
  expect(squareIn({ x: 0, y: 0, width: 300, height: 100 })).toEqual({
    x: 100,
    y: 0,
    width: 100,
    height: 100,
  });
});

test("colours grow with values; zero and no number are the lowest and none", () => {
  expect(shade(0, 1, 0.5, false)).toBe(0);
  expect(shade(0.25, 1, 0.5, false)).toBe(0.5);
  expect(shade(9, 1, 0.5, false)).toBe(1);
  expect(shade(-1, 1, 0.5, false)).toBe(0);
  expect(shade(0, 1, 0.5, true)).toBe(0.5);
  expect(shade(-0.25, 1, 0.5, true)).toBe(0.25);
  const rgba = shades([0, NaN, 1], THEMES[0]!.probability, 1, 0.5, false);
  expect([rgba[3], rgba[7], rgba[11]]).toEqual([255, 0, 255]);
});

test("a full heat map is well-formed in every mode and says where its cells lie", () => {
  const side = 16;
  const values = cone(side).map((v) => Math.exp(v));
  for (const theme of THEMES) {
    for (const options of [{}, { difference: true, gamma: 1 }, { max: 0.5, map: theme.reward }]) {
      const { pen, svg } = spyPen(240, 200);
      const samples = { cells: [0, 5, 5, 255, 256, -1, NaN], ages: [0, 0.3, 0.99, 1, 0, 0, 0] };
      const peaks = { cells: [0, 136], covered: [true, false] };
      const lines = contours(values, side, massLevels(values, [0.5, 0.9]));
      const layout = heatMap(
        pen,
        { x: 0, y: 0, width: 240, height: 200 },
        {
          values,
          samples,
          peaks,
          contours: lines,
          cursor: 17,
          ...options,
        },
        theme,
      );
      expect(xmlFault(svg())).toBeUndefined();
      expect(layout.box).toEqual({ x: 20, y: 0, width: 200, height: 200 });
    }
  }
});

test("a map has as many rows and columns as its values fill", () => {
  const { pen } = spyPen(160, 160);
  const written: number[][] = [];
  const spy = { ...pen, cells: (_: unknown, columns: number, rgba: Uint8ClampedArray) => void written.push([columns, rgba.length]) };
  for (const side of [1, 2, 16]) {
    const layout = heatMap(spy, { x: 0, y: 0, width: 160, height: 160 }, { values: new Float64Array(side * side) }, THEMES[0]!);
    expect([layout.columns, layout.rows]).toEqual([side, side]);
    expect(written.at(-1)).toEqual([side, 4 * side * side]);
  }
});

test("a dot for each sample that is on the grid and not yet gone, the older the fainter", () => {
  const { pen, svg } = spyPen(160, 160);
  const cells = [0, 5, 5, 5, 200, 256, -1];
  const box = { x: 0, y: 0, width: 160, height: 160 };
  heatMap(
    pen,
    box,
    {
      values: new Float64Array(256),
      samples: { cells, ages: [0, 0, 0.5, 0.9, 1, 0, 0] },
    },
    { ...THEMES[0]!, sample: "#123456" },
  );
  const dots = [
    ...svg().matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*fill="#123456"(?: opacity="([\d.]+)")?/g),
  ];
  expect(dots.length).toBe(4);
  const alphas = dots.map((d) => Number(d[3] ?? 1));
  expect(alphas).toEqual([1, 1, 0.6, 0.2]);
  for (const d of dots.slice(1)) expect(Math.floor(Number(d[1]) / 10)).toBe(5);
});
