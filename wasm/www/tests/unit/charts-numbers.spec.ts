import { expect, test } from "@playwright/test";
import { formatNumber, formatTick, linearTicks, logTicks, makeScale } from "../../src/charts";
import { roundDomain } from "../../src/charts/domain";
import { must, seeded } from "./charts-tools";

const isRound = (v: number) => v === 0 || /^[125]e/.test(Math.abs(v).toExponential());

test("linear ticks are multiples of 1, 2 or 5 times a power of ten, inside, and as few as asked", () => {
  const random = seeded(2);
  for (let i = 0; i < 2000; i++) {
    const min = (random() - 0.5) * 10 ** (12 * random() - 6);
    const max = min + 10 ** (10 * random() - 5);
    const count = 2 + Math.floor(8 * random());
    const ticks = linearTicks(min, max, count);
    must(ticks.length <= count + 1, `${ticks} for ${count}`);
    for (const tick of ticks) must(tick >= min && tick <= max, `${tick} outside ${min} … ${max}`);
    for (let k = 1; k < ticks.length; k++) {
      const step = Number((ticks[k]! - ticks[k - 1]!).toPrecision(2));
      must(isRound(step), `${ticks}`);
    }
  }
  expect(linearTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
  expect(linearTicks(0, 0.3, 3)).toEqual([0, 0.1, 0.2, 0.3]);
  expect(linearTicks(5, 5, 4)).toEqual([5]);
  expect(linearTicks(NaN, 1, 4)).toEqual([]);
});

test("logarithmic ticks are round, inside and few", () => {
  const random = seeded(3);
  for (let i = 0; i < 1000; i++) {
    const min = 10 ** (16 * random() - 12);
    const max = min * 10 ** (1 + 9 * random());
    const count = 2 + Math.floor(6 * random());
    const ticks = logTicks(min, max, count);
    must(ticks.length > 0 && ticks.length <= count + 2, `${ticks} for ${count}`);
    for (const tick of ticks) {
      must(isRound(tick) && tick >= min * 0.999999 && tick <= max * 1.000001, `${tick} in ${min} … ${max}`);
    }
  }
  expect(logTicks(0.001, 1, 4)).toEqual([0.001, 0.01, 0.1, 1]);
  expect(logTicks(0, 1, 4)).toEqual([]);
});

test("scales go there and back, and logarithmic ones hold zeros at their end", () => {
  const random = seeded(4);
  const scales = [
    makeScale("linear", [-3, 7], [200, 10]),
    makeScale("log", [1e-6, 10], [200, 10]),
  ];
  for (const scale of scales) {
    expect(scale.toPixel(NaN)).toBeNaN();
    expect(scale.toPixel(Infinity)).toBeNaN();
    for (let i = 0; i < 200; i++) {
      const v = scale.domain[0] + random() * (scale.domain[1] - scale.domain[0]);
      must(Math.abs(scale.toData(scale.toPixel(v)) - v) < 1e-6, `${scale.kind} ${v}`);
    }
  }
  for (const zero of [0, -1, 1e-9, 1e-6]) expect(scales[1]!.toPixel(zero)).toBe(200);
});

test("domains hold their values, end on round numbers, and do not fall over", () => {
  const random = seeded(5);
  for (let i = 0; i < 1000; i++) {
    const a = (random() - 0.5) * 10 ** (8 * random() - 4);
    const b = a + 10 ** (8 * random() - 4);
    const [low, high] = roundDomain("linear", { min: a, max: b, positive: b }, 5);
    must(low <= a + 1e-9 * Math.abs(a) && high >= b - 1e-9 * Math.abs(b), `${a} … ${b} in ${low} … ${high}`);
    const [p, q] = [Math.abs(a) + 1e-9, Math.abs(a) + Math.abs(b)];
    const log = roundDomain("log", { min: 0, max: q, positive: p }, 5);
    must(log[0] > 0 && log[0] <= Math.max(p, q * 1.1e-8) && log[1] >= q * 0.999999, `${p} … ${q} in ${log}`);
    must(isRound(log[0]) && isRound(log[1]), `${log}`);
  }
  const none = { min: Infinity, max: -Infinity, positive: Infinity };
  expect(roundDomain("linear", none, 5)).toEqual([0, 1]);
  const empty = roundDomain("log", none, 5);
  expect(empty[0] > 0 && empty[1] > empty[0]).toBe(true);
  expect(roundDomain("linear", { min: 3, max: 3, positive: 3 }, 5)).toEqual([0, 6]);
  expect(roundDomain("log", { min: 0, max: 2, positive: 1e-300 }, 5)[0]).toBeGreaterThan(1e-9);
  expect(roundDomain("log", { min: 0, max: 2, positive: 0.5 }, 5, 1e-4)).toEqual([1e-4, 2]);
});

test("numbers are short", () => {
  expect(formatTick(0)).toBe("0");
  expect(formatTick(0.2, 0.2)).toBe("0.2");
  expect(formatTick(-2, 1)).toBe("−2");
  expect(formatTick(2000, 500, 4000)).toBe("2,000");
  expect(formatTick(5000, 5000, 20000)).toBe("5k");
  expect(formatTick(1500000, 500000, 2e6)).toBe("1.5M");
  expect(formatTick(0.001)).toBe("0.001");
  expect(formatTick(1e-5)).toBe("10⁻⁵");
  expect(formatTick(2e12)).toBe("2·10¹²");
  expect(formatNumber(0.123456)).toBe("0.123");
  expect(formatNumber(12345)).toBe("12,345");
  expect(formatNumber(3.2e-9)).toBe("3.2·10⁻⁹");
  expect(formatNumber(-0)).toBe("0");
  expect(formatNumber(NaN)).toBe("–");
  expect(formatNumber(-Infinity)).toBe("−∞");
});
