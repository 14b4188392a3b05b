import { expect, test } from "@playwright/test";
import { between, isDrawing, paint, shadesOf } from "../../src/race/brush.ts";
import { ANSWERS, SIDE } from "../../src/state.ts";

const flat = (shade: number): Uint8Array => new Uint8Array(ANSWERS).fill(shade);
const at = (row: number, column: number) => row * SIDE + column;

test("raise lifts the cell most and leaves what is out of reach", () => {
  const painted = paint(flat(100), at(8, 8), "raise", 2, 0.12);
  expect(painted[at(8, 8)]!).toBeGreaterThan(painted[at(8, 9)]!);
  expect(painted[at(8, 9)]!).toBeGreaterThan(100);
  expect(painted[at(8, 11)]).toBe(100);
  expect(painted[at(0, 0)]).toBe(100);
});

test("a brush of size 0 moves one cell, and a thousand touches stay within the shades", () => {
  let up = flat(0);
  let down = flat(255);
  for (let i = 0; i < 1000; i++) {
    up = paint(up, at(0, 0), "raise", 0, 0.01);
    down = paint(down, at(15, 15), "lower", 0, 0.01);
  }
  expect(up.filter((shade) => shade > 0)).toEqual(Uint8Array.of(255));
  expect(down.filter((shade) => shade < 255)).toEqual(Uint8Array.of(0));
});

test("smooth levels, erase empties", () => {
  const spike = flat(0);
  spike[at(5, 5)] = 255;
  let smooth = spike;
  for (let i = 0; i < 20; i++) smooth = paint(smooth, at(5, 5), "smooth", 2, 0.3);
  expect(Math.max(...smooth)).toBeLessThan(100);
  expect(paint(flat(200), at(3, 3), "erase", 1, 0.12)[at(3, 3)]).toBe(0);
});

test("a fast stroke leaves no gaps", () => {
  const cells = between(at(2, 1), at(10, 14));
  expect(cells.at(-1)).toBe(at(10, 14));
  let before = at(2, 1);
  for (const cell of cells) {
    const [dy, dx] = [Math.floor(cell / SIDE) - Math.floor(before / SIDE), (cell % SIDE) - (before % SIDE)];
    expect(Math.max(Math.abs(dy), Math.abs(dx))).toBeLessThanOrEqual(1);
    before = cell;
  }
});

test("a landscape in shades keeps its order; a reference of nothing is no drawing", () => {
  const rewards = Float64Array.from({ length: ANSWERS }, (_, i) => i / 255);
  const drawing = shadesOf(rewards, new Float64Array(ANSWERS).fill(1 / ANSWERS));
  expect([...drawing.rewards]).toEqual(Array.from({ length: ANSWERS }, (_, i) => i));
  expect(drawing.reference.every((weight) => weight === 255)).toBe(true);
  expect(isDrawing({ ...drawing, reference: flat(0) })).toBe(false);
});
