import type { Locator, Page } from "@playwright/test";
import { type Rgb, contrast } from "../../src/charts";
import { violations } from "../support/axe.ts";
import { openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

const lane = (page: Page, name: string): Locator => page.getByRole("article", { name, exact: true });
const lit = (card: Locator): Locator => card.locator('[aria-current="step"]');
const step = (page: Page, name: string): Promise<void> => page.locator("#update").getByRole("radio", { name }).check();

/** The chapter on a race that stands still after 200 steps. */
async function open(page: Page): Promise<void> {
  await openChapter(page, "update");
  await page.evaluate(() => window.flowrl.engine.step(200));
  await expect(page.locator("#update output")).toHaveText("150 of 200");
}

/** `rgb(1, 2, 3)` as numbers. */
const rgb = (colour: string): Rgb => numbers(colour).slice(0, 3) as unknown as Rgb;

/** The numbers on a line of text, minus signs and all. */
const numbers = (text: string | null): number[] => (text ?? "").replaceAll("−", "-").match(/-?\d+(\.\d+)?/g)?.map(Number) ?? [];

test("the numbers of a sample add up to its residual, and that to its push", async ({ page }) => {
  await open(page);
  const card = lane(page, "FlowRL");
  await step(page, "Gradient");
  const lines = card.locator("li .number");
  // = log Z + log π − log π_ref − β × r = δ, signs set apart from their numbers.
  const sum = ((await lines.nth(1).textContent()) ?? "").replaceAll("−", "-").replace(/([-+]) /g, "$1").replace(" ×", "");
  const [logZ, logPi, logRef, beta, reward, residual] = numbers(sum) as [number, number, number, number, number, number];
  expect(logZ + logPi + logRef + beta * reward).toBeCloseTo(residual, 2);
  const [two, again, batch, push] = numbers(await lines.nth(2).textContent()) as [number, number, number, number];
  expect([two, again, batch]).toEqual([-2, residual, 64]);
  expect(push / (-2 * residual / 64)).toBeCloseTo(1, 1);
});

test("the steps light up one after the other, and the last leads to the next update", async ({ page }) => {
  await open(page);
  const next = page.locator("#update").getByRole("button", { name: "Next", exact: true });
  for (const name of ["Sample", "Residual", "Gradient"]) {
    await expect(lit(lane(page, "FlowRL"))).toContainText(name);
    await next.click();
  }
  await expect(lit(lane(page, "GRPO"))).toContainText("Move");
  await expect(lane(page, "FlowRL").locator("li .number").nth(3)).toContainText(/π\(y\): .* to .*, log Z/);
  await next.click();
  await expect(page.locator("#update output")).toHaveText("151 of 200");
  await expect(lit(lane(page, "FlowRL"))).toContainText("Sample");
});

/** The term of a formula that is lit, by its class: there is only one. */
const term = (card: Locator): Locator => card.locator('.formula [aria-current="true"]');

for (const [scheme, media] of [
  ["light", { colorScheme: "light" }],
  ["dark", { colorScheme: "dark" }],
  ["forced colours", { forcedColors: "active" }],
] as const) {
  test(`a number lights its term, and no other, by keyboard and by pointer: ${scheme}`, async ({ page }) => {
    await page.emulateMedia(media);
    await open(page);
    await step(page, "Residual");
    const [flowrl, grpo] = [lane(page, "FlowRL"), lane(page, "GRPO")];
    await expect(term(flowrl)).toHaveClass("term-z");
    await flowrl.getByRole("button", { name: /^log Z: / }).focus();
    for (const [name, lights] of [
      [/^log Z: [−\d]/, "term-z"],
      [/^log π of the answer: /, "term-policy"],
      [/^log π_ref of the answer: /, "term-reference"],
      [/^β times the reward: /, "term-score"],
    ] as const) {
      const number = flowrl.getByRole("button", { name });
      await expect(number).toBeFocused();
      await expect(number).toHaveAttribute("aria-pressed", "true");
      await expect(flowrl.locator('[aria-pressed="true"]')).toHaveCount(1);
      await expect(term(flowrl)).toHaveClass(lights);
      await page.keyboard.press("Tab");
    }
    await step(page, "Gradient");
    await expect(term(flowrl)).toHaveClass("term-residual");
    await expect(term(grpo)).toHaveClass("term-ratio");
    for (const [name, lights] of [
      [/^the advantage: /, "term-advantage"],
      [/^the pull to the reference: /, "term-kl"],
      [/^the ratio .*: 1$/, "term-ratio"],
      [/^the spread /, "term-spread"],
    ] as const) {
      await grpo.getByRole("button", { name }).hover();
      await expect(term(grpo)).toHaveClass(lights);
    }
    // It is seen: its ground stands out from the card, and its letters from its ground.
    const colours = await term(grpo).evaluate((lit) => {
      const { color, backgroundColor } = getComputedStyle(lit);
      return [color, backgroundColor, getComputedStyle(lit.closest("article")!).backgroundColor];
    });
    const [ink, ground, card] = colours.map(rgb) as [Rgb, Rgb, Rgb];
    expect(contrast(ink, ground)).toBeGreaterThanOrEqual(4.5);
    expect(contrast(ground, card)).toBeGreaterThanOrEqual(3);
    expect(await violations(page, "#update")).toEqual([]);
  });
}

test("what is lit stays lit, and what has the focus keeps it, when the numbers change", async ({ page }) => {
  await open(page);
  await step(page, "Residual");
  const number = lane(page, "FlowRL").getByRole("button", { name: /^log π_ref/ });
  await number.focus();
  const before = await page.locator("#update output").textContent();
  await page.locator("#update-at").evaluate((slider: HTMLInputElement) => {
    slider.value = "500";
    slider.dispatchEvent(new Event("input"));
  });
  await expect(page.locator("#update output")).not.toHaveText(before ?? "");
  await expect(number).toBeFocused();
  await expect(term(lane(page, "FlowRL"))).toHaveClass("term-reference");
});

test("played slowly, the terms light up one after the other", async ({ page }) => {
  await open(page);
  await step(page, "Residual");
  await page.clock.install();
  await page.getByRole("button", { name: "Play slowly" }).click();
  for (const lights of ["term-policy", "term-reference", "term-score", "term-residual"]) {
    await page.clock.runFor(1250);
    await expect(term(lane(page, "FlowRL"))).toHaveClass(lights);
  }
  await expect(lit(lane(page, "FlowRL"))).toContainText("Gradient");
});

test("the next update beyond the present takes a step of the race", async ({ page }) => {
  await open(page);
  const slider = page.locator("#update").getByRole("slider");
  await slider.focus();
  await slider.press("End");
  await expect(page.locator("#update output")).toHaveText("200 of 200");
  await page.locator("#update .controls").first().getByRole("button", { name: "Next update" }).click();
  await expect(page.locator("#update output")).toHaveText("201 of 201");
});

test("an answer is picked with the arrow keys, in both lanes at once", async ({ page }) => {
  await open(page);
  const bars = lane(page, "GRPO").locator("canvas");
  const sample = lane(page, "FlowRL").locator("li .number").first();
  const before = await sample.textContent();
  await bars.focus();
  await bars.press("ArrowLeft");
  await expect(sample).not.toHaveText(before ?? "");
  await expect(page.locator("#announcer")).toContainText("GRPO:");
});

test("every method can be taken apart", async ({ page }) => {
  await open(page);
  const right = page.getByLabel("Right", { exact: true });
  await step(page, "Gradient");
  for (const name of ["FlowRL ÷ length", "Reward + KL ⁄ β", "PPO", "REINFORCE"]) {
    await right.selectOption(name);
    const lines = lane(page, name).locator("li .number");
    await expect(lane(page, name).locator("canvas")).toHaveAttribute("aria-label", new RegExp(`^${name.replace("+", "\\+")}: `));
    await expect(lines.nth(2)).toHaveText(/^= .* = |not drawn/);
  }
});

test("axe finds nothing, also at 320 pixels, and nothing sticks out", { tag: "@narrow" }, async ({ page }) => {
  await page.setViewportSize({ width: 320, height: 800 });
  await open(page);
  for (const name of ["Sample", "Residual", "Gradient", "Move"]) {
    await step(page, name);
    expect(await violations(page, "#update")).toEqual([]);
  }
  for (const name of ["FlowRL ÷ length", "Reward + KL ⁄ β"]) {
    await page.getByLabel("Left", { exact: true }).selectOption(name);
    await expect(lane(page, name)).toBeVisible();
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBe(0);
  }
});
