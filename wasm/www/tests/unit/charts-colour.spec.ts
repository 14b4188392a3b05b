import { expect, test } from "@playwright/test";
import { colourAt, contrast, fromLab, hex, parseColour, themeFrom, toLab } from "../../src/charts";
import { PROPERTIES, THEMES, must, seeded } from "./charts-tools";

const lightness = (map: Uint8ClampedArray) =>
  Array.from({ length: 256 }, (_, i) => toLab([map[4 * i]!, map[4 * i + 1]!, map[4 * i + 2]!])[0]);

test("hexadecimal colours are read and nothing else", () => {
  expect(parseColour("#0072B2")).toEqual([0, 0x72, 0xb2]);
  expect(parseColour(" #fa0 ")).toEqual([255, 170, 0]);
  for (const bad of ["", "red", "#12", "#12345", "rgb(1, 2, 3)", "var(--x)"])
    expect(parseColour(bad)).toBeUndefined();
});

test("OKLab goes there and back", () => {
  const random = seeded(1);
  for (let i = 0; i < 500; i++) {
    const rgb = [random(), random(), random()].map((v) => Math.round(255 * v)) as [number, number, number];
    must(hex(fromLab(toLab(rgb))) === hex(rgb), hex(rgb));
  }
  expect(toLab([255, 255, 255])[0]).toBeCloseTo(1, 3);
});

for (const theme of THEMES) {
  test(`${theme.name}: the lightness of sequential maps goes one way, evenly`, () => {
    for (const map of [theme.probability, theme.reward]) {
      const light = lightness(map);
      const way = Math.sign(light[255]! - light[0]!);
      expect(way).toBe(theme.name === "light" ? -1 : 1);
      expect(Math.abs(light[255]! - light[0]!)).toBeGreaterThan(0.6);
      const even = (light[255]! - light[0]!) / 255;
      // A colour of eight bits a channel is off by less than half a step.
      for (let i = 1; i < 256; i++)
        must(Math.abs(light[i]! - light[0]! - even * i) < 0.004, `uneven at ${i}`);
      for (let i = 2; i < 256; i++) must(way * (light[i]! - light[i - 2]!) > 0, `turns at ${i}`);
    }
  });

  test(`${theme.name}: the diverging map is the card in the middle, and both halves go one way`, () => {
    const light = lightness(theme.difference);
    const way = theme.name === "light" ? -1 : 1;
    for (let i = 130; i < 256; i++) must(way * (light[i]! - light[i - 2]!) > 0, `turns at ${i}`);
    for (let i = 125; i >= 0; i--) must(way * (light[i]! - light[i + 2]!) > 0, `turns at ${i}`);
    const middle = toLab(parseColour(colourAt(theme.difference, 0.5))!);
    const card = toLab(parseColour(theme.card)!);
    expect(Math.hypot(...middle.map((v, i) => v - card[i]!))).toBeLessThan(0.02);
    expect(toLab(parseColour(colourAt(theme.difference, 0.1))!)[2]).toBeLessThan(-0.03);
    expect(toLab(parseColour(colourAt(theme.difference, 0.9))!)[2]).toBeGreaterThan(0.03);
  });

  test(`${theme.name}: reward and probability differ in hue`, () => {
    for (const t of [0.4, 0.5, 0.6]) {
      expect(toLab(parseColour(colourAt(theme.probability, t))!)[2]).toBeLessThan(-0.05);
      expect(toLab(parseColour(colourAt(theme.reward, t))!)[2]).toBeGreaterThan(0.05);
    }
  });

  test(`${theme.name}: lanes and dots stand out 3:1, text 4.5:1, on the card and on the paper`, () => {
    for (const ground of [theme.card, theme.paper]) {
      const against = (colour: string) => contrast(parseColour(colour)!, parseColour(ground)!);
      for (const [lane, colour] of Object.entries(theme.lanes)) {
        expect(against(colour), `${lane} on ${ground}`).toBeGreaterThanOrEqual(3);
      }
      expect(against(theme.sample)).toBeGreaterThanOrEqual(3);
      for (const text of [theme.ink, theme.muted, theme.accent])
        expect(against(text)).toBeGreaterThanOrEqual(4.5);
    }
  });
}

test("a theme takes what the page sets, and names what it lacks", () => {
  expect(THEMES.map(({ name }) => name)).toEqual(["light", "dark"]);
  const set = new Map(PROPERTIES[1]).set("--ink-2", " #bbbbbb").set("--lane-grpo", "#ff0000");
  const theme = themeFrom((name) => set.get(name) ?? "");
  expect(theme.muted).toBe("#bbbbbb");
  expect(theme.lanes.grpo).toBe("#ff0000");
  set.delete("--card");
  expect(() => themeFrom((name) => set.get(name) ?? "")).toThrow('--card is ""; wanted a colour');
});
