import type { Locator } from "@playwright/test";
import { violations } from "../support/axe.ts";
import { open, openChapter } from "../support/lab.ts";
import { expect, test } from "../support/page.ts";

/** What a canvas shows, once it has been drawn. */
const picture = async (canvas: Locator) => {
  await canvas.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  return canvas.evaluate((element: HTMLCanvasElement) => element.toDataURL());
};

test("the map fills itself, is the same every time, and loads a run into the race", async ({ page }) => {
  test.slow();
  await openChapter(page, "map");
  const section = page.locator("#map");
  await section.getByLabel("Steps of each run").selectOption("200");
  await expect(section).toContainText("210 runs of 200 steps, made in your browser", { timeout: 100_000 });
  const verdict = await section.getByText(/^Within KL 0\.1 of the target/).textContent();
  const near = Object.fromEntries([...verdict!.matchAll(/(FlowRL|Reward \+ KL ⁄ β|GRPO) in (\d+)/g)].map((m) => [m[1], Number(m[2])]));
  expect(near["FlowRL"]).toBeGreaterThan(2 * near["GRPO"]!);
  const map = section.locator('canvas[role="application"]').first();
  await map.focus();
  await page.keyboard.press("ArrowRight");
  await expect(section.locator(".map-cell")).toContainText(/Cellβ 10, learning rate 0\.02/);
  await expect(section.locator(".map-cell")).toContainText(/FlowRLKL [\d.]+, 4 of 4 peaksGRPOKL [\d.]+, 2 of 4 peaks/);
  const shown = await picture(map);
  await page.keyboard.press("ArrowLeft");
  expect(await picture(map), "the cursor is drawn").not.toBe(shown);
  await page.keyboard.press("ArrowRight");
  await section.getByRole("radio", { name: "Peaks kept" }).check();
  await expect(section.locator("#map-legend-text")).toContainText("Modes found after the last step");
  expect(await picture(map), "peaks have other colours").not.toBe(shown);
  await map.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => window.flowrl.settings.get().beta === 10);
  expect(await page.evaluate(() => window.flowrl.settings.get().lanes)).toEqual(["flowrl", "grpo", "reward-kl"]);
});

test("the map is made anew for other settings or another landscape, and rests out of view", async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 1600 });
  await open(page);
  const section = page.locator("#map");
  const made = async () => Number(/^(\d+) of/.exec((await section.locator("#map-count").textContent()) ?? "")?.[1]);
  await section.evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
  for (const change of [{ samples: 32 }, { preset: "ring" }]) {
    await expect.poll(made, { timeout: 30_000 }).toBeGreaterThan(3);
    const left = await page.evaluate((settings) => {
      window.flowrl.settings.patch(settings as never);
      return document.querySelector("#map-count")!.textContent;
    }, change);
    expect(left).toBe("0 of 210 runs");
  }
  await expect.poll(made, { timeout: 30_000 }).toBeGreaterThan(3);
  await page.evaluate(() => scrollTo({ top: 0, behavior: "instant" }));
  await page.waitForTimeout(500);
  const before = await made();
  await page.waitForTimeout(500);
  expect(await made()).toBe(before);
});

test("methods come and go, one at least and six at most; a click on a cell loads it", async ({ page }) => {
  await open(page, "#v=1&p=plateau");
  const section = page.locator("#map");
  await section.evaluate((element) => element.scrollIntoView({ behavior: "instant" }));
  const boxes = section.getByRole("checkbox");
  const maps = section.locator(".map-card:visible");
  await expect(maps).toHaveCount(3);
  for (const name of ["PPO", "REINFORCE", "VarGrad"]) await boxes.and(page.getByLabel(name)).check();
  await expect(maps).toHaveCount(6);
  await expect(section.getByLabel("FlowRL as published")).toBeDisabled();
  for (const name of ["GRPO", "PPO", "REINFORCE", "VarGrad", "Reward + KL ⁄ β"]) await boxes.and(page.getByLabel(name)).uncheck();
  await expect(maps).toHaveCount(1);
  await expect(boxes.and(page.getByLabel("FlowRL", { exact: true }))).toBeDisabled();
  const map = maps.locator("canvas");
  const { width } = (await map.boundingBox())!;
  // Near the top right: the largest β and rate.
  await map.click({ position: { x: width - 12, y: 30 } });
  await page.waitForFunction(() => window.flowrl.settings.get().beta === 50);
  expect(await page.evaluate(() => window.flowrl.settings.get())).toMatchObject({ learningRate: 0.2, lanes: ["flowrl"] });
});

for (const width of [1280, 320]) {
  test(`axe finds nothing in the map, ${width} px`, { tag: width === 320 ? "@narrow" : [] }, async ({ page }) => {
    await page.setViewportSize({ width, height: 2600 });
    await openChapter(page, "map");
    await expect(page.locator("#map")).toContainText(/[1-9]\d* of 210 runs/, { timeout: 30_000 });
    expect(await violations(page, "#map")).toEqual([]);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width);
  });
}
